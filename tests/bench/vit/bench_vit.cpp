// One side of tests/bench/peers.sh --network vit: ViT-B/14 on a batch of images, as a process that takes commands.
// --help explains the options and the commands.
#include <chrono>
#include <cstdio>
#include <iostream>
#include <sstream>
#include <string>

#include "sat/io/arrays/npy.h"
#include "sat/io/checkpoints/checkpoint.h"
#include "sat/nn/image/vit.h"
#include "sat/tensor/context.h"

using namespace sat;

namespace {

constexpr const char* kHelp = R"(Runs a vision transformer on a batch of images, as a process that takes commands.
  sat_bench_vit --weights FILE --images FILE [OPTION...]
  --weights FILE      checkpoint
  --images FILE       tensor x [B, H, W, 3]
  --precision NAME    exact (default) or fast
  --cpu LEVEL         plain, avx2, avx512 or amx (default: the best of this processor)
  --threads N         default: all processors
  --help
The first line that it prints, unasked, is {"version": ...}; then it answers each line of the standard input with a line
of JSON:
  run           runs the network once: {"seconds": s}; the result is kept
  write STEM    STEM.0.npy is the kept result [B, tokens, width], normed
)";

struct Arguments {
  bool help = false;
  std::string weights, images;
  ContextOptions context;
};

Arguments parse(int argc, char** argv) {
  Arguments a;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    if (option == "--help") {
      a.help = true;
      return a;
    }
    SAT_CHECK(i + 1 < argc, option, " needs a value");
    const std::string value = argv[++i];
    if (option == "--weights") {
      a.weights = value;
    } else if (option == "--images") {
      a.images = value;
    } else if (option == "--threads") {
      a.context.threads = std::stoi(value);
    } else if (option == "--cpu") {
      a.context.cpu = parse_cpu_level(value);
    } else if (option == "--precision") {
      a.context.precision = parse_precision(value);
    } else {
      fail("unknown option ", option, "; --help lists them");
    }
  }
  return a;
}

void serve(const Arguments& a) {
  Context context(a.context);
  UseContext use(context);
  const Weights weights = open_checkpoint(a.weights).weights, file = open_checkpoint(a.images).weights;
  const VitFound found = recognise_vit(weights);
  const Vit vit(weights, found.config, found.naming);
  const Tensor images = file.get("x", file.shape_of("x"));
  Tensor result;
  std::cout << "{\"version\": \"" << name_of(a.context.cpu) << "\"}" << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string command, stem;
    words >> command >> stem;
    if (command == "run") {
      result = Tensor();
      const auto start = std::chrono::steady_clock::now();
      const VitRows x = vit(images, PositionRule::size);
      result = to_host(vit.normed(x.rows)).reshape({x.images, x.tokens, found.config.width});
      const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
      std::cout << "{\"seconds\": " << time.count() << "}" << std::endl;
    } else if (command == "write") {
      write_npy(stem + ".0.npy", result);
      std::cout << "{}" << std::endl;
    } else {
      fail("cannot do '", line, "'");
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const Arguments a = parse(argc, argv);
    if (a.help) {
      std::fputs(kHelp, stdout);
    } else {
      serve(a);
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "sat_bench_vit: %s\n", error.what());
    return 1;
  }
}
