// The table of convolution methods and the choice among them.
#include "sat/tensor/cpu/conv/conv_method.h"

#include <algorithm>

#include "sat/tensor/cpu/conv/few_channels.h"

namespace sat::cpu {

namespace {

constexpr int64_t kFewestChannels = 16;      // fewer leave a Winograd product's tile empty
constexpr int64_t kMostPairs44 = 512 * 256;  // channel pairs up to which F(4, 3)'s weights stay within 120 MB
constexpr int64_t kMostPairs64 = 128 * 64;   // where F(6, 3)'s larger weights are read from the last cache
constexpr int64_t kMostPairsStride2 = 128 * 64;
constexpr double kFastError = 1e-2;
constexpr int64_t kShortestAxis = 6;  // a tile of 4 outputs would be mostly padding below

}  // namespace

const std::vector<ConvMethodInfo>& conv_methods() {
  static const std::vector<ConvMethodInfo> methods = {
      {ConvMethod::direct, "direct", 0, 1, 1, 3e-6, 512},
      {ConvMethod::winograd_222, "winograd-2x2x2", 1, 27 * 8 / 64., 64 / 27., 3e-6, 512},
      {ConvMethod::winograd_244, "winograd-2x4x4", 1, 27 * 32 / 144., 144 / 27., 5e-6, 512},
      {ConvMethod::winograd_444, "winograd-4x4x4", 1, 27 * 64 / 216., 216 / 27., 8e-6, 512},
      {ConvMethod::winograd_644, "winograd-6x4x4", 1, 27 * 96 / 288., 288 / 27., 8e-6, 128},
      {ConvMethod::winograd_stride2, "winograd-stride2", 2, 27 * 64 / 729., 216 / 27., 3e-6, 512},
      {ConvMethod::amx_bf16, "amx-bf16", 0, 1, 0.5, 6e-3, 512},
  };
  return methods;
}

const ConvMethodInfo& info_of(ConvMethod method) { return conv_methods()[size_t(method)]; }

ConvMethod parse_conv_method(const std::string& name) {
  std::string known;
  for (const ConvMethodInfo& info : conv_methods()) {
    if (name == info.name) return info.method;
    known += (known.empty() ? "" : ", ") + std::string(info.name);
  }
  fail("unknown convolution method '", name, "'; it is one of ", known);
}

ConvMethod choose_conv_method(const ConvLayer& layer, Precision precision, CpuLevel cpu) {
  if (cpu == CpuLevel::plain || layer.kernel != 3 || layer.out < kFewestChannels) return ConvMethod::direct;
  const bool image = few_channels_on_tiles(layer.in, layer.stride);
  if (precision == Precision::fast && cpu == CpuLevel::amx && (image || layer.in >= kFewestChannels)) {
    return ConvMethod::amx_bf16;
  }
  if (layer.in < kFewestChannels) return ConvMethod::direct;
  const int64_t shortest = *std::min_element(layer.grid.begin(), layer.grid.end());
  const int64_t pairs = layer.in * layer.out;
  const auto allowed = [&](ConvMethod method) {
    return info_of(method).stride == layer.stride &&
           info_of(method).error <= (precision == Precision::fast ? kFastError : layer.most_error);
  };
  if (shortest >= kShortestAxis && pairs <= kMostPairs64 && layer.in <= info_of(ConvMethod::winograd_644).most_inputs &&
      allowed(ConvMethod::winograd_644)) {
    return ConvMethod::winograd_644;
  }
  if (shortest >= kShortestAxis && pairs <= kMostPairs44) {
    for (ConvMethod method : {ConvMethod::winograd_444, ConvMethod::winograd_244}) {
      if (allowed(method)) return method;
    }
  }
  if (shortest >= kShortestAxis && pairs <= kMostPairsStride2 && allowed(ConvMethod::winograd_stride2)) {
    return ConvMethod::winograd_stride2;
  }
  return shortest >= 4 && allowed(ConvMethod::winograd_222) ? ConvMethod::winograd_222 : ConvMethod::direct;
}

}  // namespace sat::cpu
