// Runs device kernels for tests/cuda/*.sh: one counted case a call, or all of them for their bits.
//   sat_cuda_counts device       one line: name, architecture, multiprocessors, memory
//   sat_cuda_counts list         names of the counted cases
//   sat_cuda_counts CASE         runs it; prints its model, one "key value" a line (tests/cuda/scripts/counters.awk)
//   sat_cuda_counts bits         "NAME HASH" a line
#include <cstdio>
#include <cstring>
#include <functional>

#include "sat/cuda/conv3d/composed/conv3d_composed.h"
#include "sat/cuda/conv3d/general/conv3d_general.h"
#include "sat/cuda/gradient/conv3d/conv_gradient.h"
#include "sat/cuda/sequences/selective_scan.h"
#include "tests/cuda/counts/kernel_runs.h"
#include "tests/cuda/counts/unfused_chain.h"

using namespace sat;
using namespace sat::cuda;
using namespace sat::test;

namespace {

using Bytes = std::vector<std::shared_ptr<DeviceBytes>>;

void say(const char* key, int64_t value) { std::printf("%s %lld\n", key, static_cast<long long>(value)); }

/// Small volumes on few multiprocessors, so that a block has as long a run of tiles as in a window of 288 x 288 x 96 on
/// a whole device.
constexpr int kProcessors = 2;

int64_t voxels_of(const std::array<int64_t, 3>& size) { return size[0] * size[1] * size[2]; }

/// What the definition takes: every product of every tap, each value of the inputs with their border of zeros and of
/// the result once, and the weights once a tile of the variant's (so many voxels of the result, all of its channels).
void say_conv_model(const Conv& conv, int64_t tile) {
  const int64_t in = conv.inputs[0].channels + conv.inputs[1].channels;
  const auto& size = conv.in_size;
  say("voxels", voxels_of(conv.out_size));
  say("products", 2 * 27 * in * conv.out * voxels_of(conv.out_size));
  say("input_bytes", (size[0] + 2) * (size[1] + 2) * (size[2] + 2) * in * size_of(conv.dtype));
  say("input_once", voxels_of(size) * in * size_of(conv.dtype));
  say("weights_bytes", 27 * in * conv.out * size_of(conv.dtype));
  say("weight_passes", tile == 0 ? 0 : voxels_of(conv.out_size) / tile);
  say("output_bytes", voxels_of(conv.out_size) * conv.out * size_of(conv.dtype));
}

/// Voxels of the result for which a block reads the weights once.
int64_t tile_of(ConvVariant variant, int64_t in) {
  if (variant == ConvVariant::mma) return 16 * 16;
  if (variant == ConvVariant::wgmma) return 2 * 16 * (in > 64 ? 8 : 16);
  return 0;  // the others read weights through the L1 cache, which is not counted
}

void count_conv(Stream stream, const ConvSetup& setup) {
  stream.limits.processors = kProcessors;
  const ConvRun run(setup, stream);
  SAT_CHECK(run.refusal().empty(), run.refusal());
  run.run();
  say_conv_model(run.conv(), tile_of(setup.variant, setup.in0 + setup.in1));
  if (setup.variant == ConvVariant::wgmma) {
    // Shared memory that m64n128k16 reads by itself: 128 x 16 inputs for 64 x 128 x 16 products. Weights come through
    // registers, and their ldmatrix is counted.
    say("operand_bytes", 27 * setup.in0 * setup.out * voxels_of(setup.size) / (64 * 128 * 16) * 128 * 16 * 2);
  }
}

/// A decoder's convolution of two inputs, 64 + 64 -> 64 (or of one, 64 -> 64): the norm is taken while loading, the
/// statistics while storing, and there is no joined tensor.
void count_fused_chain(const Stream& stream, ConvVariant variant, bool joins) {
  count_conv(stream, {variant, DType::f16, {32, 32, 32}, 64, joins ? 64 : 0, 64, 1, true});
}

/// A decoder's convolution of low, up-sampled, and skip by composed weights: 64 + 64 -> 64 on a grid of low voxels.
void count_composed(const Stream& stream, const std::array<int64_t, 3>& low) {
  const int64_t channels = 64, voxels = voxels_of(low), weights = channels * channels;
  Bytes owned = {
      made_up(DType::f16, voxels * channels, 1),  made_up(DType::f16, 8 * voxels * channels, 2),
      made_up(DType::f16, 64 * weights, 3, 0.05), made_up(DType::f16, 27 * weights, 4, 0.05),
      made_up(DType::f32, 27 * channels, 5),      std::make_shared<DeviceBytes>(size_t(8 * voxels * channels * 2))};
  ComposedConv conv;
  conv.low_size = low;
  conv.low = {owned[0]->data(), DType::f16, channels, 0, made_up_norm(channels, 6, owned)};
  conv.skip = {owned[1]->data(), DType::f16, channels, 0, made_up_norm(channels, 7, owned)};
  conv.weights_low = owned[2]->data();
  conv.weights_skip = owned[3]->data();
  conv.skip_pitch = channels;
  conv.bias = reinterpret_cast<const float*>(owned[4]->data());
  conv.values = owned[5]->data();
  conv.dtype = DType::f16;
  conv.out = channels;
  conv.last = 2 * low[0];
  const DeviceBytes partials(size_t(conv.last * conv3d_composed_partials(conv) * channels) * sizeof(PartialMoments));
  conv.partials = reinterpret_cast<PartialMoments*>(partials.data());
  conv3d_composed(stream, conv);
  const auto bordered = [](const std::array<int64_t, 3>& size, int64_t scale) {
    return (scale * size[0] + 2) * (scale * size[1] + 2) * (scale * size[2] + 2);
  };
  say("voxels", 8 * voxels);
  say("products", 2 * (27 + 8) * weights * 8 * voxels);
  say("input_bytes", (bordered(low, 1) + bordered(low, 2)) * channels * 2);
  say("input_once", 9 * voxels * channels * 2);
  say("weights_bytes", (27 + 4 * 8) * weights * 2);  // of a tile: the skip's, and those of four of the eight parities
  say("weight_passes", 8 * voxels / (16 * 16));
  say("output_bytes", 8 * voxels * channels * 2);
}

/// The same by passes over memory: join, convolution of final values, statistics, norm, leaky ReLU. The convolution is
/// ours, which cannot be told to leave the statistics out; they are a few partials a tile.
void count_unfused_chain(Stream stream, ConvVariant variant, bool joins) {
  stream.limits.processors = kProcessors;
  const ConvRun run({variant, DType::f16, {32, 32, 32}, joins ? 128 : 64, 0, 64, 1, false}, stream);
  const Conv& conv = run.conv();
  const int64_t voxels = voxels_of(conv.out_size);
  Bytes owned = {made_up(DType::f16, voxels * 64, 1), made_up(DType::f16, voxels * 64, 2)};
  const DeviceBytes partials(size_t(moments_partials(voxels) * 64) * sizeof(PartialMoments));
  if (joins) {
    join_channels(stream, const_cast<void*>(conv.inputs[0].values), owned[0]->data(), 64, owned[1]->data(), 64, voxels);
  }
  run.run();
  channel_moments(stream, reinterpret_cast<PartialMoments*>(partials.data()), conv.values, voxels, 64);
  apply_norm(stream, conv.values, conv.values, made_up_norm(64, 3, owned), voxels, 64);
  apply_leaky_relu(stream, conv.values, 0.01f, voxels, 64);
  say_conv_model(conv, tile_of(variant, conv.inputs[0].channels));
}

void count_attention(const Stream& stream, AttentionVariant variant, DType products, int64_t queries, int64_t tokens,
                     int64_t heads, int64_t width) {
  const int64_t channels = heads * width;
  const Bytes owned = {made_up(DType::f32, queries * channels, 1), made_up(DType::f32, tokens * channels, 2),
                       made_up(DType::f32, tokens * channels, 3),
                       std::make_shared<DeviceBytes>(size_t(queries * channels * 4))};
  const auto at = [&](size_t i) { return reinterpret_cast<float*>(owned[i]->data()); };
  attention(stream, variant, {at(0), at(1), at(2), nullptr, at(3), queries, tokens, channels, heads, products});
  say("rows", queries);
  say("products", 4 * queries * divide_up(tokens, 16) * 16 * channels);  // in tiles of 16 tokens
  say("input_bytes", (queries + 2 * tokens) * channels * 4);
  say("output_bytes", queries * channels * 4);
}

/// Segments that attend within themselves, heads of one width; with a bias that all share and regions, as windows of a
/// shifted grid, or without both, as images.
void count_segments(const Stream& stream, int64_t segments, int64_t tokens, int64_t heads, int64_t width,
                    bool windows) {
  const int64_t channels = heads * width, rows = segments * tokens, bias = windows ? heads * tokens * tokens : 0;
  const Bytes owned = {made_up(DType::f32, rows * channels, 1),
                       made_up(DType::f32, rows * channels, 2),
                       made_up(DType::f32, rows * channels, 3),
                       made_up(DType::f32, bias, 4),
                       std::make_shared<DeviceBytes>(size_t(rows * channels * 4)),
                       std::make_shared<DeviceBytes>(std::vector<uint8_t>(size_t(rows), 1))};
  const auto at = [&](size_t i) { return reinterpret_cast<float*>(owned[i]->data()); };
  Attention sizes{at(0), at(1), at(2), windows ? at(3) : nullptr, at(4), tokens, tokens, channels, heads, DType::f16};
  sizes.segments = segments;
  sizes.regions = windows ? owned[5]->data() : nullptr;
  attention(stream, AttentionVariant::fused, sizes);
  const int64_t tiles = divide_up(tokens, 16) * 16, blocks = divide_up(tokens, 64);  // of a segment and head
  say("rows", rows);
  say("products", 4 * segments * tiles * tiles * channels);
  say("input_bytes", (1 + 2 * blocks) * rows * channels * 4 + segments * bias * 4);  // keys and values once a block
  say("output_bytes", rows * channels * 4);
}

/// A 3 x 3 convolution of an image.
void count_image_conv(const Stream& stream, void (*variant)(const Stream&, const GeneralConv&)) {
  const int64_t side = 32, channels = 64, voxels = side * side;
  const Bytes owned = {made_up(DType::f32, voxels * channels, 1), made_up(DType::f32, 9 * channels * channels, 2, 0.05),
                       std::make_shared<DeviceBytes>(size_t(voxels * channels * 4))};
  const auto at = [&](size_t i) { return reinterpret_cast<float*>(owned[i]->data()); };
  variant(stream, {{side, side, 1},
                   {side, side, 1},
                   {3, 3, 1},
                   {1, 1, 1},
                   {1, 1, 0},
                   1,
                   channels,
                   channels,
                   at(0),
                   at(1),
                   nullptr,
                   at(2)});
  say("voxels", voxels);
  say("products", 2 * 9 * channels * channels * voxels);
  say("input_bytes", (side + 2) * (side + 2) * channels * 4);
  say("weights_bytes", 9 * channels * channels * 4);
  say("weight_passes", variant == conv3d_general_tiled ? voxels / 128 : 0);
  say("output_bytes", voxels * channels * 4);
}

/// The gradient of a 3x3x3 convolution's weight, 64 -> 64, in one piece.
void count_weight_gradient(const Stream& stream, DType held, void (*form)(const Stream&, const WeightGradient&)) {
  const std::array<int64_t, 3> size{8, 8, 32}, threes{3, 3, 3}, ones{1, 1, 1};
  const int64_t channels = 64, voxels = voxels_of(size);
  Bytes owned = {made_up(held, voxels * channels, 1), made_up(held, voxels * channels, 2),
                 std::make_shared<DeviceBytes>(size_t(27 * channels * channels * 4))};
  ConvInput x{owned[0]->data(), held, channels, 0, {}};
  auto* parts = reinterpret_cast<float*>(owned[2]->data());
  if (held == DType::f32) x.norm = made_up_norm(channels, 3, owned);
  form(stream, {size, size, threes, ones, ones, x, owned[1]->data(), parts, channels, 1});
  say("voxels", voxels);
  say("products", 2 * 27 * channels * channels * voxels);
  say("input_bytes", voxels * channels * 2 * size_of(held));
  say("output_bytes", 27 * channels * channels * 4);
}

void count_scan(const Stream& stream, ScanVariant variant) {
  const int64_t length = 512, channels = 128, states = 16, values = length * channels;
  const Bytes owned = {made_up(DType::f32, values, 1),          made_up(DType::f32, values, 2),
                       made_up(DType::f32, values, 3),          made_up(DType::f32, channels * states, 4),
                       made_up(DType::f32, length * states, 5), made_up(DType::f32, length * states, 6),
                       made_up(DType::f32, channels, 7),        std::make_shared<DeviceBytes>(size_t(values * 4))};
  const auto at = [&](size_t i) { return reinterpret_cast<float*>(owned[i]->data()); };
  const Scan scan{at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7), 1, length, channels, states};
  const DeviceBytes workspace(size_t(selective_scan_workspace(variant, scan) * 4));
  selective_scan(stream, variant, scan, reinterpret_cast<float*>(workspace.data()));
  say("rows", length);
  say("input_bytes", (3 * values + 2 * length * states) * 4);
  say("output_bytes", values * 4);
}

void count_mask_scores(const Stream& stream, DType dtype, int64_t prompts) {
  const ScoreSizes sizes{{16, 16, 32}, {16, 16, 32}, {16, 16, 32}, 64, prompts};
  const int64_t voxels = voxels_of(sizes.features);
  ScoreRegion region;
  region.size = sizes.features;
  Bytes owned = {made_up(dtype, voxels * 64, 1), made_up(DType::f32, prompts * 64, 2), made_up(DType::f32, voxels, 3),
                 made_up(DType::f32, voxels * prompts, 4)};
  const auto at = [&](size_t i) { return reinterpret_cast<float*>(owned[i]->data()); };
  ConvInput features{owned[0]->data(), dtype, 64, 0, {}};
  float *scores = at(3), *masks = at(1), *importance = at(2);
  features.norm = made_up_norm(64, 5, owned);
  accumulate_mask_scores(stream, scores, features, masks, importance, sizes, region);
  say("voxels", voxels);
  say("products", 2 * voxels * prompts * 64);
  say("input_bytes", voxels * (64 * size_of(dtype) + 4) + voxels * prompts * 4);
  say("weights_bytes", prompts * 64 * 4);
  say("weight_passes", voxels / (dtype == DType::f32 ? 64 : 256));  // the plain kernel's block, that of tensor cores
  say("output_bytes", voxels * prompts * 4);
}

void count_mask_bits(const Stream& stream, int64_t prompts) {
  const int64_t voxels = 8192;
  Bytes owned = {made_up(DType::f16, voxels * 64, 1), made_up(DType::f32, prompts * 64, 2),
                 std::make_shared<DeviceBytes>(size_t(prompts * voxels / 8))};
  ConvInput features{owned[0]->data(), DType::f16, 64, 0, {}};
  const auto* masks = reinterpret_cast<const float*>(owned[1]->data());
  auto* bits = reinterpret_cast<uint32_t*>(owned[2]->data());
  features.norm = made_up_norm(64, 5, owned);
  mask_bits(stream, bits, features, masks, voxels, prompts);
  say("voxels", voxels);
  say("products", 2 * voxels * prompts * 64);
  say("input_bytes", voxels * 64 * 2);
  say("weights_bytes", prompts * 64 * 4);
  say("weight_passes", voxels / 256);
  say("output_bytes", prompts * voxels / 8);
}

struct CountedCase {
  const char* name;
  std::function<void(const Stream&)> run;
};

const std::vector<CountedCase>& counted_cases() {
  const auto conv = [](ConvVariant variant, DType dtype, std::array<int64_t, 3> size, int64_t in, int64_t out) {
    return [=](const Stream& stream) { count_conv(stream, {variant, dtype, size, in, 0, out, 1, true}); };
  };
  const auto attention = [](AttentionVariant variant, DType products) {
    return [=](const Stream& stream) { count_attention(stream, variant, products, 64, 243, 8, 96); };
  };
  const auto chain = [](auto* count, ConvVariant variant, bool joins) {
    return [=](const Stream& stream) { count(stream, variant, joins); };
  };
  static const std::vector<CountedCase> cases = {
      {"conv3d/plain/64-64", conv(ConvVariant::plain, DType::f16, {8, 16, 8}, 64, 64)},
      {"conv3d/tiled/64-64", conv(ConvVariant::tiled, DType::f16, {16, 16, 16}, 64, 64)},
      {"conv3d/mma/64-64", conv(ConvVariant::mma, DType::f16, {32, 32, 32}, 64, 64)},
      {"conv3d/wgmma/64-64", conv(ConvVariant::wgmma, DType::f16, {32, 32, 32}, 64, 64)},
      {"conv3d/mma/128-128", conv(ConvVariant::mma, DType::f16, {16, 32, 16}, 128, 128)},
      {"conv3d/wgmma/128-128", conv(ConvVariant::wgmma, DType::f16, {16, 32, 16}, 128, 128)},
      {"conv3d/composed/64+64-64",
       [](const Stream& stream) {
         count_composed(stream, {8, 16, 16});
       }},
      {"chain/mma/64-64/fused", chain(count_fused_chain, ConvVariant::mma, false)},
      {"chain/mma/64-64/unfused", chain(count_unfused_chain, ConvVariant::mma, false)},
      {"chain/mma/64+64-64/fused", chain(count_fused_chain, ConvVariant::mma, true)},
      {"chain/mma/64+64-64/unfused", chain(count_unfused_chain, ConvVariant::mma, true)},
      {"chain/wgmma/64+64-64/fused", chain(count_fused_chain, ConvVariant::wgmma, true)},
      {"chain/wgmma/64+64-64/unfused", chain(count_unfused_chain, ConvVariant::wgmma, true)},
      {"attention/plain", attention(AttentionVariant::plain, DType::f32)},
      {"attention/tiled", attention(AttentionVariant::tiled, DType::f32)},
      {"attention/fused", attention(AttentionVariant::fused, DType::f16)},
      {"attention/windows", [](const Stream& stream) { count_segments(stream, 2, 343, 2, 16, true); }},
      {"attention/images", [](const Stream& stream) { count_segments(stream, 2, 257, 2, 64, false); }},
      {"conv2d/plain/64-64", [](const Stream& stream) { count_image_conv(stream, conv3d_general_plain); }},
      {"conv2d/tiled/64-64", [](const Stream& stream) { count_image_conv(stream, conv3d_general_tiled); }},
      {"weight_gradient/tiled/64-64",
       [](const Stream& stream) { count_weight_gradient(stream, DType::f32, weight_gradient_tiled); }},
      {"weight_gradient/mma/64-64",
       [](const Stream& stream) { count_weight_gradient(stream, DType::bf16, weight_gradient_mma); }},
      {"selective_scan/plain", [](const Stream& stream) { count_scan(stream, ScanVariant::plain); }},
      {"selective_scan/chunked", [](const Stream& stream) { count_scan(stream, ScanVariant::chunked); }},
      {"mask_scores/plain/32", [](const Stream& stream) { count_mask_scores(stream, DType::f32, 32); }},
      {"mask_scores/mma/32", [](const Stream& stream) { count_mask_scores(stream, DType::f16, 32); }},
      {"mask_bits/mma/64", [](const Stream& stream) { count_mask_bits(stream, 64); }},
  };
  return cases;
}

int say_device() {
  int count = 0;
  check(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
  std::printf("%s, sm_%d%d, %d multiprocessors, %.1f GB, devices: %d\n", properties.name, properties.major,
              properties.minor, properties.multiProcessorCount, double(properties.totalGlobalMem) * 1e-9, count);
  return 0;
}

int run(const std::string& what) {
  if (what == "device") return say_device();
  if (what == "list") {
    for (const CountedCase& counted : counted_cases()) std::puts(counted.name);
    return 0;
  }
  const Stream stream = device_stream();
  if (what == "bits") {
    for (const std::string& line : all_bits(stream)) std::puts(line.c_str());
    for (const std::string& line : op_bits()) std::puts(line.c_str());
    for (const std::string& line : gradient_bits()) std::puts(line.c_str());
    for (const std::string& line : network_bits()) std::puts(line.c_str());
    return 0;
  }
  for (const CountedCase& counted : counted_cases()) {
    if (what != counted.name) continue;
    counted.run(stream);
    return 0;
  }
  fail("no such case: ", what);
}

}  // namespace

int main(int count, char** arguments) {
  try {
    SAT_CHECK(count == 2, "usage: sat_cuda_counts device|list|bits|CASE");
    return run(arguments[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "sat_cuda_counts: %s\n", error.what());
    return 1;
  }
}
