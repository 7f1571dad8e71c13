// Times the U-Net and its layers on this machine: seconds of a window, GFLOP/s of convolutions.
//   sat_bench_unet [--size H W D] [--threads N] [--cpu plain|avx2|avx512] [--repeats N]
//                  [--layers | --layer IN SKIP OUT STRIDE | --once]
// Weights and inputs are random. By default a U-Net of SAT-Nano's widths runs a window; --layers times convolutions of
// that network one by one, --layer one of any channels; --once prints one bare figure, the seconds of one window after
// a warm-up, for compare_unet.sh.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "sat/nn/unet3d.h"
#include "sat/tensor/context.h"
#include "sat/tensor/memory.h"

using namespace sat;

namespace {

struct Arguments {
  std::vector<int64_t> size = {96, 96, 96};
  ContextOptions context;
  int repeats = 3;
  std::vector<int64_t> layer;  // in, skip, out, stride
  bool layers = false, once = false;
};

Arguments parse(int argc, char** argv) {
  Arguments a;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    const auto value = [&] {
      SAT_CHECK(i + 1 < argc, option, " needs a value");
      return std::string(argv[++i]);
    };
    if (option == "--size") {
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
    } else if (option == "--once") {
      a.once = true;
    } else {
      fail("unknown option ", option);
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

template <class Body>
double median_seconds(int repeats, Body body) {
  body();
  std::vector<double> times;
  for (int i = 0; i < repeats; ++i) {
    const double start = seconds();
    body();
    times.push_back(seconds() - start);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

SatConfig nano() {
  SatConfig config;
  config.channels = {64, 64, 128, 256, 512, 768};
  config.encoder_blocks = {2, 2, 2, 2, 2, 2};
  config.decoder_blocks = {2, 2, 2, 2, 2};
  return config;
}

UNet3d make_unet(const SatConfig& config) {
  std::map<std::string, Tensor> weights;
  const auto block = [&](const std::string& name, int64_t in, int64_t out) {
    weights[name + ".conv.weight"] = noise({out, in, 3, 3, 3}, 0.3f / float(in));
    weights[name + ".conv.bias"] = noise({out}, 0.1f);
    weights[name + ".norm.weight"] = full({out}, 1);
    weights[name + ".norm.bias"] = noise({out}, 0.1f);
  };
  const auto& channels = config.channels;
  for (size_t s = 0; s < channels.size(); ++s) {
    const std::string stage = "encoder.stages." + std::to_string(s) + ".0.convs.";
    block(stage + "0", s > 0 ? channels[s - 1] : config.in_channels, channels[s]);
    block(stage + "1", channels[s], channels[s]);
  }
  for (size_t d = 0; d + 1 < channels.size(); ++d) {
    const int64_t from = channels[channels.size() - 1 - d], to = channels[channels.size() - 2 - d];
    const std::string up = "decoder.transpconvs." + std::to_string(d);
    weights[up + ".weight"] = noise({from, to, 2, 2, 2}, 1.f / float(from));
    weights[up + ".bias"] = noise({to}, 0.1f);
    const std::string stage = "decoder.stages." + std::to_string(d) + ".convs.";
    block(stage + "0", 2 * to, to);
    block(stage + "1", to, to);
  }
  return UNet3d(Weights::from_tensors(weights), config);
}

/// One convolution of the network by itself.
void bench_layer(const Arguments& a, int64_t divisor, int64_t in, int64_t skip, int64_t out, int64_t stride) {
  const Shape grid{1, a.size[0] / divisor, a.size[1] / divisor, a.size[2] / divisor, in};
  const Tensor x = noise(grid, 1), second = skip ? noise(grid.with(4, skip), 1) : Tensor();
  const PackedConv3d weight = pack_conv3d(noise({out, in + skip, 3, 3, 3}, 0.1f));
  const double time = median_seconds(a.repeats, [&] {
    if (skip) {
      conv3d_joined(x, second, weight, {}, {stride, 1});
    } else {
      conv3d(x, weight, {}, {stride, 1});
    }
  });
  const double voxels = double(grid[1] * grid[2] * grid[3] / (stride * stride * stride));
  const double flop = 54 * voxels * double(in + skip) * double(out);
  std::printf("%4lld + %4lld -> %4lld  stride %lld  %3lldx%3lldx%3lld  %9.2f ms  %7.1f GFLOP/s\n", (long long)in,
              (long long)skip, (long long)out, (long long)stride, (long long)grid[1], (long long)grid[2],
              (long long)grid[3], time * 1e3, flop / time * 1e-9);
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

void bench_unet(Arguments a) {
  std::map<std::string, double> shares;
  bool recording = false;
  a.context.on_profile = [&](const ProfileEvent& event) {
    if (recording) shares[event.name] += event.seconds;
  };
  Context context(a.context);
  UseContext use(context);
  const UNet3d unet = make_unet(nano());
  const Tensor x = noise({1, a.size[0], a.size[1], a.size[2], 3}, 1);
  const double time = median_seconds(a.once ? 1 : a.repeats, [&] { unet(x); });
  if (a.once) {
    std::printf("%.4f\n", time);
    return;
  }
  recording = true;
  unet(x);
  std::printf("U-Net %lldx%lldx%lld, %s, %d threads: median %.3f s, peak %.2f GB\n", (long long)a.size[0],
              (long long)a.size[1], (long long)a.size[2], name_of(a.context.cpu), a.context.threads, time,
              double(context.memory()->peak_bytes()) * 1e-9);
  for (const auto& [name, share] : shares) std::printf("  %-26s %8.1f ms\n", name.c_str(), share * 1e3);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const Arguments a = parse(argc, argv);
    if (a.layers || !a.layer.empty()) {
      Context context(a.context);
      UseContext use(context);
      if (a.layers) bench_layers(a);
      if (!a.layer.empty()) bench_layer(a, 1, a.layer[0], a.layer[1], a.layer[2], a.layer[3]);
    } else {
      bench_unet(a);
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "sat_bench_unet: %s\n", error.what());
    return 1;
  }
}
