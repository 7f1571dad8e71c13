// Times a backbone of SAT and its convolutions on this machine, by itself or as one side of tests/bench/peers.sh.
// --help explains the options.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "sat/io/checkpoints/checkpoint.h"
#include "sat/io/files/file.h"
#include "sat/nn/sat/backbones/backbone.h"
#include "sat/tensor/context.h"
#include "sat/tensor/memory/memory.h"
#include "sat/tensor/parallel.h"

using namespace sat;

namespace {

constexpr const char* kHelp = R"(Times a backbone of SAT and its convolutions on this machine.
  sat_bench_unet [OPTION...]                              one window, and each operation's share of it
  sat_bench_unet --layers [OPTION...]                     the convolutions that hold most of the work
  sat_bench_unet --layer IN SKIP OUT STRIDE [OPTION...]   one convolution; with SKIP channels that join it, IN of the
                                                          channels are up-sampled as part of it
  sat_bench_unet --serve [--weights FILE --window FILE]   stays alive and takes commands, as peers.sh gives them
Options:
  --size H W D        window, or a layer's voxels (96 96 96)
  --network NAME      UNET (SAT-Nano's, default), UMamba, SwinUNETR or any other published architecture
  --precision NAME    exact (default) or fast
  --cpu LEVEL         plain, avx2, avx512 or amx (default: the best of this processor)
  --threads N         default: all processors
  --repeats N         runs that the median is taken of, after one to warm up (3)
  --weights FILE      checkpoint of --serve; without it, it answers for layers only
  --window FILE       tensor x [1, H, W, D, channels] of --serve
  --help
)";

struct Arguments {
  std::vector<int64_t> size = {96, 96, 96};
  ContextOptions context;
  int repeats = 3;
  std::vector<int64_t> layer;  // in, skip, out, stride
  bool help = false, layers = false, serve = false;
  std::string network = "UNET", weights, window;
};

Arguments parse(int argc, char** argv) {
  Arguments a;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    const auto value = [&] {
      SAT_CHECK(i + 1 < argc, option, " needs a value");
      return std::string(argv[++i]);
    };
    if (option == "--help") {
      a.help = true;
    } else if (option == "--size") {
      for (int64_t& size : a.size) size = std::stoll(value());
    } else if (option == "--threads") {
      a.context.threads = std::stoi(value());
    } else if (option == "--cpu") {
      a.context.cpu = parse_cpu_level(value());
    } else if (option == "--repeats") {
      a.repeats = std::stoi(value());
    } else if (option == "--layers") {
      a.layers = true;
    } else if (option == "--layer") {
      for (int field = 0; field < 4; ++field) a.layer.push_back(std::stoll(value()));
    } else if (option == "--serve") {
      a.serve = true;
    } else if (option == "--weights") {
      a.weights = value();
    } else if (option == "--network") {
      a.network = value();
    } else if (option == "--window") {
      a.window = value();
    } else if (option == "--precision") {
      a.context.precision = parse_precision(value());
    } else {
      fail("unknown option ", option, "; --help lists them");
    }
  }
  return a;
}

/// Uniform numbers in [-scale, scale).
Tensor noise(const Shape& shape, float scale) {
  Tensor x(shape);
  uint32_t state = uint32_t(shape.numel()) * 2654435761u + 1;
  float* to = x.data<float>();
  for (int64_t i = 0; i < x.numel(); ++i) {
    state = state * 1664525u + 1013904223u;
    to[i] = (float(state >> 8) * 0x1p-23f - 1.f) * scale;
  }
  return x;
}

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double median(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

template <class Body>
double median_seconds(int repeats, Body body) {
  body();
  std::vector<double> times;
  for (int i = 0; i < repeats; ++i) {
    const double start = seconds();
    body();
    times.push_back(seconds() - start);
  }
  return median(std::move(times));
}

/// Random weights of a trained network's scale.
std::shared_ptr<const Backbone> make_network(const Arguments& a) {
  return make_backbone(Weights::made([](const std::string& name, const Shape& shape) {
                         if (name.find("norm.weight") != std::string::npos) return full(shape, 1);
                         return noise(shape, shape.rank() == 1 ? 0.1f : 0.3f / float(shape[1]));
                       }),
                       published_config(a.network));
}

/// One convolution as the network runs it: by the method that it chooses, with the norm and leaky ReLU of what it reads
/// and the statistics of what it writes. With a skip, `in` channels are up-sampled from twice as many at half
/// resolution, and that is part of it.
struct Layer {
  Features x, skip;
  std::string variant;
  ConvBlockWeight weight;   // of one input, or
  UpBlockWeight up_weight;  // of two
  NormWeights norm;

  static DType held() { return Context::current().precision() == Precision::fast ? DType::f16 : DType::f32; }
  static Features owing_norm(const Shape& shape) {
    const int64_t channels = shape[4];
    return {noise(shape, 1).cast(held()), noise({1, channels}, 0.1f), full({1, channels}, 1.7f),
            noise({1, channels}, 0.1f), 0.01f};
  }

  Layer(const Shape& grid, int64_t in, int64_t skip_channels, int64_t out, int64_t stride)
      : norm{full({out}, 1), noise({out}, 0.1f)} {
    ConvSite site;
    site.stride = stride;
    site.grid = {grid[1] / stride, grid[2] / stride, grid[3] / stride};
    site.input = held();
    const Tensor kernel = noise({out, in + skip_channels, 3, 3, 3}, 0.1f);
    variant = choose_conv(site, {in + skip_channels, out, skip_channels ? in : 0}).variant;
    if (skip_channels) {
      x = owing_norm({1, grid[1] / 2, grid[2] / 2, grid[3] / 2, 2 * in});
      skip = owing_norm(grid.with(4, skip_channels));
      up_weight = pack_up_block(kernel, noise({2 * in, in, 2, 2, 2}, 0.1f), {}, site);
    } else {
      x = owing_norm(grid.with(4, in));
      weight = pack_conv_block(kernel, site);
    }
  }

  void operator()() const {
    if (skip.values.empty()) {
      conv3d_norm(x, weight, norm);
    } else {
      conv3d_norm_up(x, skip, up_weight, norm);
    }
  }
};

void bench_layer(const Arguments& a, int64_t divisor, int64_t in, int64_t skip, int64_t out, int64_t stride) {
  const Shape grid{1, a.size[0] / divisor, a.size[1] / divisor, a.size[2] / divisor, in};
  const Layer layer(grid, in, skip, out, stride);
  const double time = median_seconds(a.repeats, layer);
  const double voxels = double(grid[1] * grid[2] * grid[3] / (stride * stride * stride));
  const double flop = 54 * voxels * double(in + skip) * double(out);
  std::printf("%4lld + %4lld -> %4lld  stride %lld  %3lldx%3lldx%3lld  %9.2f ms  %7.1f GFLOP/s  %s\n", (long long)in,
              (long long)skip, (long long)out, (long long)stride, (long long)grid[1], (long long)grid[2],
              (long long)grid[3], time * 1e3, flop / time * 1e-9, layer.variant.c_str());
}

void bench_layers(const Arguments& a) {
  bench_layer(a, 1, 3, 0, 64, 1);
  bench_layer(a, 1, 64, 0, 64, 1);
  bench_layer(a, 1, 64, 64, 64, 1);
  bench_layer(a, 1, 64, 0, 64, 2);
  bench_layer(a, 2, 64, 0, 64, 1);
  bench_layer(a, 4, 128, 0, 128, 1);
  bench_layer(a, 8, 256, 0, 256, 1);
  bench_layer(a, 16, 512, 0, 512, 1);
  bench_layer(a, 16, 512, 512, 512, 1);
  bench_layer(a, 32, 768, 0, 768, 1);
}

/// One channel of a window whose channels are equal, which is how the program hands a scan to the network.
Tensor grey(const Tensor& window) {
  const Shape& shape = window.shape;
  Tensor one({shape[0], shape[1], shape[2], shape[3], 1});
  const float* from = window.data<float>();
  for (int64_t voxel = 0; voxel < one.numel(); ++voxel) {
    for (int64_t c = 1; c < shape[4]; ++c) {
      if (from[voxel * shape[4] + c] != from[voxel * shape[4]]) return window;
    }
    one.data<float>()[voxel] = from[voxel * shape[4]];
  }
  return one;
}

/// What a run hands over, the full-resolution output in f32 with its last norm taken and the pooled stages, and its
/// seconds: of the network up to features whose last norm is pending, and of all.
struct Run {
  std::vector<Tensor> results;
  double network = 0, all = 0;
};

Run run(const Backbone& network, const Tensor& x) {
  const double start = seconds();
  BackboneOutput output = network(x);
  Run run;
  run.network = seconds() - start;
  run.results = {materialize(std::move(output.per_voxel[0]))};
  run.all = seconds() - start;
  run.results.insert(run.results.end(), output.pooled.begin(), output.pooled.end());
  return run;
}

void bench_network(Arguments a) {
  std::map<std::string, double> shares;
  bool recording = false;
  a.context.on_profile = [&](const ProfileEvent& event) {
    if (recording) shares[event.name] += event.seconds;
  };
  Context context(a.context);
  UseContext use(context);
  const auto network = make_network(a);
  const Tensor x = noise({1, a.size[0], a.size[1], a.size[2], 1}, 1);
  std::vector<double> whole, unfinished;
  run(*network, x);
  for (int i = 0; i < a.repeats; ++i) {
    const Run once = run(*network, x);
    whole.push_back(once.all);
    unfinished.push_back(once.network);
  }
  recording = true;
  run(*network, x);
  std::printf("%s %lldx%lldx%lld, %s, %s, %d threads: median %.3f s (%.3f s without the last norm), peak %.2f GB\n",
              a.network.c_str(), (long long)a.size[0], (long long)a.size[1], (long long)a.size[2],
              name_of(a.context.precision), name_of(a.context.cpu), context.threads().size(), median(whole),
              median(unfinished), double(context.memory()->peak_bytes()) * 1e-9);
  for (const auto& [name, share] : shares) std::printf("  %-26s %8.1f ms\n", name.c_str(), share * 1e3);
}

/// An f32 tensor as numpy's file format 1.0.
void write_npy(const std::string& path, const Tensor& tensor) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (";
  for (const int64_t size : tensor.shape.sizes()) header += std::to_string(size) + ", ";
  header += "), }";
  header.resize((10 + header.size() + 1 + 63) / 64 * 64 - 10, ' ');
  header.back() = '\n';
  AtomicFile file(path);
  file.write(std::string("\x93NUMPY\x01\0", 8));
  file.write({char(header.size() & 255), char(header.size() >> 8)});
  file.write(header);
  file.write(tensor.raw(), tensor.bytes());
  file.commit();
}

/// Answers each line of the standard input with one line of JSON, until it ends; the first line, unasked, names the
/// kernels. Run with all weights in place, so that a run is nothing but the network.
///   run                               runs the network once: {"seconds": s, "network_seconds": of it without the last
///                                     norm, the step that finishes features into f32}; the results are kept
///   write STEM                        STEM.0.npy is the kept full-resolution output, STEM.1.npy and on the pooled ones
///   layer IN SKIP OUT STRIDE H W D    times one convolution, after a warm-up when it is another one than before
void serve(const Arguments& a) {
  Context context(a.context);
  UseContext use(context);
  std::shared_ptr<const Backbone> network;
  Tensor window;
  if (!a.weights.empty()) {
    network = make_backbone(open_checkpoint(a.weights).weights, published_config(a.network));
    const Weights file = open_checkpoint(a.window).weights;
    window = grey(file.get("x", file.shape_of("x")));
  }
  std::vector<Tensor> results;
  std::unique_ptr<Layer> layer;
  std::string layer_line;
  std::cout << "{\"version\": \"" << name_of(a.context.cpu) << "\"}" << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    if (command == "run" && network) {
      results.clear();
      Run once = run(*network, window);
      results = std::move(once.results);
      std::cout << "{\"seconds\": " << once.all << ", \"network_seconds\": " << once.network << "}" << std::endl;
    } else if (command == "write") {
      std::string stem;
      words >> stem;
      for (size_t i = 0; i < results.size(); ++i) write_npy(stem + "." + std::to_string(i) + ".npy", results[i]);
      std::cout << "{}" << std::endl;
    } else if (command == "layer") {
      if (line != layer_line) {
        int64_t in, skip, out, stride, h, w, d;
        words >> in >> skip >> out >> stride >> h >> w >> d;
        SAT_CHECK(!words.fail(), "layer needs seven numbers, got '", line, "'");
        layer = nullptr;
        layer = std::make_unique<Layer>(Shape{1, h, w, d, in}, in, skip, out, stride);
        layer_line = line;
        (*layer)();
      }
      const double start = seconds();
      (*layer)();
      std::cout << "{\"seconds\": " << seconds() - start << "}" << std::endl;
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
    } else if (a.serve) {
      serve(a);
    } else if (a.layers || !a.layer.empty()) {
      Context context(a.context);
      UseContext use(context);
      if (a.layers) bench_layers(a);
      if (!a.layer.empty()) bench_layer(a, 1, a.layer[0], a.layer[1], a.layer[2], a.layer[3]);
    } else {
      bench_network(a);
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "sat_bench_unet: %s\n", error.what());
    return 1;
  }
}
