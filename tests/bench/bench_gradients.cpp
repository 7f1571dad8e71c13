// Times the gradients of a network's convolutions on this machine, layer by layer, against the machine's peak.
// --help explains the options.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "sat/nn/sat/backbones/layer_plan.h"
#include "sat/tensor/context.h"
#include "sat/tensor/cpu/gradient/conv/conv_gradient.h"
#include "sat/tensor/roofs/roofs.h"

using namespace sat;

namespace {

constexpr const char* kHelp = R"(Times the gradients of a network's 3x3x3 convolutions, layer by layer.
  sat_bench_gradients [OPTION...]
  --network NAME      UNET, UNET-L or UNET-H (UNET)
  --size H W D        of the crop (96 96 96)
  --layer TEXT        only layers whose name holds it, as "decoder 0"
  --only GRADIENT     input or weight (both)
  --cpu LEVEL         avx2, avx512 (default: the best of this processor)
  --threads N         default: all processors
  --repeats N         runs that the median is taken of, after one to warm up (3)
  --help
Rates count the definition, 54 * voxels * in * out flop, whatever the method really computes.
)";

struct Arguments {
  std::string network = "UNET", layer, only;
  std::vector<int64_t> size = {96, 96, 96};
  ContextOptions context;
  int repeats = 3;
  bool help = false;
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
    } else if (option == "--network") {
      a.network = value();
    } else if (option == "--size") {
      for (int64_t& size : a.size) size = std::stoll(value());
    } else if (option == "--layer") {
      a.layer = value();
    } else if (option == "--only") {
      a.only = value();
    } else if (option == "--cpu") {
      a.context.cpu = parse_cpu_level(value());
    } else if (option == "--threads") {
      a.context.threads = std::stoi(value());
    } else if (option == "--repeats") {
      a.repeats = std::stoi(value());
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

Features owing_norm(const Shape& shape) {
  const Shape parts({1, shape[4]});
  return {noise(shape, 1), noise(parts, 0.1f), full(parts, 1.7f), noise(parts, 0.1f), 0.01f};
}

/// The median of `repeats` runs after one to warm up; of more where they are short.
template <class Body>
double median_seconds(int repeats, Body body) {
  constexpr double kAtLeast = 0.2;  // seconds
  std::vector<double> times;
  double all = 0;
  for (int i = 0; i <= repeats || all < kAtLeast; ++i) {
    const auto start = std::chrono::steady_clock::now();
    body();
    const double time = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (i > 0) times.push_back(time);
    if (i > 0) all += time;
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

struct Times {
  double input = 0, weight = 0;
};

/// Of a layer whose second input, where it has one, is as the first.
Times time_layer(const std::vector<int64_t>& size, const ConvChannels& channels, int64_t stride, int repeats,
                 bool wants_input, bool wants_weight) {
  const int64_t in = channels.up ? channels.up : channels.in, inputs = channels.in / in;
  const Shape grid{1, size[0], size[1], size[2], in};
  Shape reached = grid.with(4, channels.out);
  for (int axis = 1; axis < 4; ++axis) reached[axis] = (grid[axis] - 1) / stride + 1;
  const Features x = channels.in == 1 ? Features{noise(grid, 1)} : owing_norm(grid);  // an image is final
  const Tensor dy = noise(reached, 1), weight = noise({channels.out, channels.in, 3, 3, 3}, 0.1f);
  Tensor dw = zeros(weight.shape), dx(grid);
  Times times;
  if (wants_weight) {
    times.weight = median_seconds(repeats, [&] {
      for (int64_t i = 0; i < inputs; ++i) cpu::conv3d_weight_gradient(dw, i * in, x, dy, stride);
    });
  }
  if (wants_input) {
    times.input = median_seconds(repeats, [&] {
      for (int64_t i = 0; i < inputs; ++i) cpu::conv3d_input_gradient(dx, false, dy, weight, i * in, stride);
    });
  }
  return times;
}

void bench(const Arguments& a) {
  Context context(a.context);
  UseContext use(context);
  const double peak = RoofMeter({0.1, 64 << 20}).measure().fma_flops;
  std::printf("%s, %lld x %lld x %lld, %s, %d threads, multiply-adds at %.0f GFLOP/s\n", a.network.c_str(),
              (long long)a.size[0], (long long)a.size[1], (long long)a.size[2], name_of(context.cpu()),
              context.thread_count(), peak * 1e-9);
  std::printf("%-12s %-12s %-12s %s  %10s %9s %6s  %10s %9s %6s\n", "layer", "channels", "inputs", "stride", "input ms",
              "GFLOP/s", "/roof", "weight ms", "GFLOP/s", "/roof");
  Times all;
  std::map<std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t>, Times> known;
  for (const BackboneLayer& layer : unet3d_layers(published_config(a.network))) {
    if (layer.name.find(a.layer) == std::string::npos) continue;
    const int64_t stride = layer.site.stride;
    std::vector<int64_t> size = a.size;
    for (int64_t& length : size) length = std::max<int64_t>(1, (length >> layer.site.halvings) * stride);
    ConvChannels channels = layer.channels;
    const bool image = layer.name == "encoder 0.0";
    if (image) channels.in = 1;  // a scan's channels are equal
    const auto key = std::make_tuple(size[0], channels.in, channels.out, channels.up, stride);
    if (!known.count(key))
      known[key] = time_layer(size, channels, stride, a.repeats, !image && a.only != "weight", a.only != "input");
    const Times times = known[key];
    double voxels = 1;
    for (const int64_t length : size) voxels *= double(length / stride);
    const double flop = 54 * voxels * double(channels.in) * double(channels.out);
    const auto rate = [&](double seconds) { return seconds > 0 ? flop / seconds : 0; };
    std::printf("%-12s %4lld -> %4lld %3lld x %3lld x %3lld  %d  %10.2f %9.0f %6.2f  %10.2f %9.0f %6.2f\n",
                layer.name.c_str(), (long long)channels.in, (long long)channels.out, (long long)size[0],
                (long long)size[1], (long long)size[2], int(stride), times.input * 1e3, rate(times.input) * 1e-9,
                rate(times.input) / peak, times.weight * 1e3, rate(times.weight) * 1e-9, rate(times.weight) / peak);
    std::fflush(stdout);
    all.input += times.input;
    all.weight += times.weight;
  }
  std::printf("together: inputs %.0f ms, weights %.0f ms\n", all.input * 1e3, all.weight * 1e3);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const Arguments a = parse(argc, argv);
    if (a.help) {
      std::fputs(kHelp, stdout);
    } else {
      bench(a);
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "sat_bench_gradients: %s\n", error.what());
    return 1;
  }
}
