// sat bench: what is measured, and how often.
#include "examples/sat/command_line/commands.h"

#include <charconv>

#include "examples/sat/command_line/options.h"
#include "sat/io/files/file.h"
#include "sat/tensor/context.h"

namespace sat::cli {

namespace {

constexpr int kMostRounds = 1000;
constexpr int64_t kMostLength = 65536;  // of a benchmark along one axis

/// "96x96x96", "64,64"
std::vector<int64_t> parse_lengths(const std::string& text, char separator) {
  std::vector<int64_t> lengths;
  for (const std::string& part : CLI::detail::split(text, separator)) {
    int64_t length = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), length);
    SAT_CHECK(error == std::errc() && end == part.data() + part.size() && length >= 1 && length <= kMostLength, "'",
              text, "' is not numbers from 1 to ", kMostLength, " with '", separator, "' between them");
    lengths.push_back(length);
  }
  return lengths;
}

}  // namespace

CLI::App* add_bench(CLI::App& program, BenchRequest& request) {
  CLI::App* command = program.add_subcommand("bench", "Measure kernels and stages against what this machine can do");
  add_parsed(command, "--op", request.operations, parse_list, "operations or cases, separated by commas (--list)")
      ->type_name("NAMES");
  add_parsed(command, "--variant", request.variants, parse_list,
             "variants to run; default: all but those that are too slow\nto wait for")
      ->type_name("NAMES");
  const auto with = [](char separator) {
    return [separator](const std::string& t) { return parse_lengths(t, separator); };
  };
  add_parsed(command, "--size", request.size, with('x'), "in place of the cases' own, for example 48x48x48")
      ->type_name("HxWxD");
  add_parsed(command, "--channels", request.channels, with(','), "likewise, for example 64,128")->type_name("IN,OUT");
  BenchSettings& settings = request.settings;
  command->add_option("--device", request.device.names, "cpu (default), cuda, cuda:1 or auto")->type_name("D");
  add_half(command, request.device.half);
  add_threads(command, settings.threads);
  add_cpu(command, settings.cpu);
  command->add_option("--repeat", settings.repeat, "rounds; default: 5, or 3 where a call takes over 2 s")
      ->type_name("N")
      ->check(CLI::Range(1, kMostRounds));
  command->add_option("--seconds", settings.seconds, "that a measurement takes at least; default: 0.1")
      ->type_name("S")
      ->check(CLI::Range(1e-4, 60.0));
  command->add_flag("--list", request.list, "only name what can be measured");
  command->add_option("--json", request.json, "write JSON; - writes it to stdout in place of the table")
      ->type_name("FILE");
  add_file(command, "--chart", request.chart, "draw a bar chart (.png)")->check([](const std::string& path) {
    return has_extension(path, ".png") ? std::string() : "'" + path + "' must end in .png";
  });
  command->footer(R"(All variants of a case take turns on the same random data, and so do the roofs, of which the best
round counts: the peak of multiply-adds in registers, and the bandwidth of a copy in memory or,
where all the data fit there, in the L2 caches. Where there are matrix units, work on them is held
against tile products of random data that are loaded from the L1 cache, nine tiles for twelve
products; their peak with data that stay in registers is printed beside it. A rate is the work
counted the plain way over the median time; its share is of the roof that is lower for this work. A
variant that needs fewer operations than the plain one (Winograd), or data that stay in the last
cache, may pass 100 %. The spread is the whole range of the rounds.

On a CUDA device the roofs are dense layers of cuBLAS, in f32 and in the half type, and a copy in its
memory. The name of a kernel variant alone computes in the half type, NAME-f32 in f32.

Examples:
  sat bench
  sat bench --op conv3d --channels 64,64 --size 48x48x48 --variant direct,plain
  sat bench --op unet,conv3d/64-64 --json bench.json --chart bench.png
  sat bench --device cuda --op conv3d_norm,attention
  sat bench --device cuda --op conv3d_norm/64-64 --variant tiled-f32,tiled,mma,wgmma --half bf16)");
  return command;
}

}  // namespace sat::cli
