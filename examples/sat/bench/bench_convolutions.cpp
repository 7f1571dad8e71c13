// The convolutions that `sat bench` measures, in every variant that the library has.
// Rates count the dense sum, 2 * 27 * in * out flop a voxel of the output, whatever the variant needs. Methods of
// conv_method.h need nothing here: they are read off the table.
#include <cmath>

#include "examples/sat/bench/bench_case.h"
#include "sat/tensor/cpu/conv/conv_method.h"
#include "sat/tensor/ops.h"

namespace sat::cli {

namespace {

constexpr int64_t kTaps = 27;
constexpr float kSlope = 0.01f;

/// A weight that keeps the size of what passes through it.
Tensor random_weight(const Shape& shape, int64_t fan_in, uint64_t seed) {
  return random_normal(shape, std::sqrt(2 / double(fan_in)), seed);
}

/// Voxels of the output along each axis.
std::vector<int64_t> strided(std::vector<int64_t> size, int64_t stride) {
  for (int64_t& length : size) length = (length - 1) / stride + 1;
  return size;
}

Work conv_work(const CaseSizes& sizes, int64_t stride) {
  const int64_t in = sizes.channels[0], out = sizes.channels[1];
  const double voxels = double(product_of(sizes.size)), out_voxels = double(product_of(strided(sizes.size, stride)));
  const double weights = double(kTaps * in * out);
  return {2 * weights * out_voxels, 4 * (double(in) * voxels + double(out) * out_voxels + weights)};
}

/// Values whose norm is still to be taken by the reader, by the names of its parts behind `name`.
void add_pending(Inputs& inputs, const std::string& name, const Shape& shape, uint64_t seed) {
  const Shape parts({1, shape[4]});
  inputs[name] = random_normal(shape, 1, seed);
  inputs[name + ".center"] = random_normal(parts, 0.1, seed + 1);
  inputs[name + ".factor"] = full(parts, 1);
  inputs[name + ".shift"] = random_normal(parts, 0.1, seed + 2);
}

Features pending(const Inputs& inputs, const std::string& name) {
  const auto part = [&](const char* of_norm) { return to_compute_device(inputs.at(name + of_norm)); };
  return {to_compute_device(inputs.at(name).cast(feature_type())), part(".center"), part(".factor"), part(".shift"),
          kSlope};
}

NormWeights norm_of(const Inputs& inputs) {
  return {to_compute_device(inputs.at("gain")), to_compute_device(inputs.at("bias"))};
}

BenchOperation convolution(const std::string& name, const std::string& what) {
  BenchOperation op;
  op.name = name;
  op.what = what;
  op.channel_names = {"IN", "OUT"};
  op.size_names = {"H", "W", "D"};
  return op;
}

using PrepareMethod = std::function<Runner(const std::string& method, const CaseSizes&, const Inputs&)>;

/// A variant for each method that computes this stride, the quickest of them on f16 volumes too, and the plain one.
std::vector<BenchVariant> method_variants(int64_t stride, const PrepareMethod& prepare) {
  std::vector<BenchVariant> variants;
  const auto add = [&](const std::string& name, const std::string& method) -> BenchVariant& {
    variants.push_back({name, [=](const CaseSizes& sizes, const Inputs& in) { return prepare(method, sizes, in); }});
    return variants.back();
  };
  for (const cpu::ConvMethodInfo& info : cpu::conv_methods()) {
    const bool on_tiles = info.method == cpu::ConvMethod::amx_bf16;
    if ((info.stride != 0 && info.stride != stride) || (on_tiles && !amx_available())) continue;
    BenchVariant& variant = add(info.name, info.name);
    if (!on_tiles) continue;
    variant.on_tiles = true;
    variant.level = CpuLevel::amx;
    variant.precision = Precision::fast;
  }
  const std::string quickest = stride == 2 ? "winograd-stride2" : "winograd-6x4x4";
  add(quickest + "-f16", quickest).precision = Precision::fast;
  BenchVariant& plain = add("plain", "");  // the choice at this level, and on a device
  plain.level = CpuLevel::plain;
  plain.only_by_name = true;
  return variants;
}

/// Where a block of these benchmarks stands: at full resolution.
ConvSite site_of(const std::string& method, const CaseSizes& sizes, int64_t stride) {
  ConvSite site;
  site.stride = stride;
  for (size_t axis = 0; axis < 3; ++axis) site.grid[axis] = (sizes.size[axis] - 1) / stride + 1;
  site.input = feature_type();
  site.variant = method;
  return site;
}

BenchOperation conv3d_norm_operation(int64_t stride) {
  BenchOperation op =
      convolution(stride == 1 ? "conv3d_norm" : "conv3d_norm_stride2",
                  stride == 1 ? "3x3x3 convolution with the norm of its input and the statistics of its output"
                              : "the same with stride 2");
  op.cases = {
      {{64, 64}, {96, 96, 96}}, {{128, 128}, {48, 48, 48}}, {{256, 256}, {24, 24, 24}}, {{512, 512}, {12, 12, 12}}};
  op.standard = 3;
  if (stride == 2) {
    op.cases = {{{64, 64}, {96, 96, 96}}, {{64, 128}, {48, 48, 48}}, {{128, 256}, {24, 24, 24}}};
    op.standard = 1;
  }
  op.work = [stride](const CaseSizes& sizes) { return conv_work(sizes, stride); };
  op.inputs = [](const CaseSizes& sizes) {
    const int64_t in = sizes.channels[0], out = sizes.channels[1];
    Inputs inputs{{"weight", random_weight({out, in, 3, 3, 3}, kTaps * in, 1)},
                  {"gain", full({out}, 1)},
                  {"bias", random_normal({out}, 0.1, 2)}};
    add_pending(inputs, "x", volume_shape(sizes.size, in), 3);
    return inputs;
  };
  op.variants = method_variants(
      stride, [stride](const std::string& method, const CaseSizes& sizes, const Inputs& inputs) -> Runner {
        const ConvBlockWeight weight = pack_conv_block(inputs.at("weight"), site_of(method, sizes, stride));
        return [weight, x = pending(inputs, "x"), norm = norm_of(inputs)] { conv3d_norm(x, weight, norm); };
      });
  return op;
}

BenchOperation conv3d_norm_up_operation() {
  BenchOperation op = convolution("conv3d_norm_up", "conv3d_norm of IN channels, up-sampled to OUT, and a skip of OUT");
  op.cases = {{{128, 64}, {48, 48, 48}}, {{64, 64}, {96, 96, 96}}};
  op.work = [](const CaseSizes& sizes) -> Work {
    const double in = double(sizes.channels[0]), out = double(sizes.channels[1]);
    const double voxels = double(product_of(sizes.size)), weights = double(2 * kTaps) * out * out;
    return {2 * voxels * (in * out + weights), 4 * (voxels * (in / 8 + 2 * out) + 8 * in * out + weights)};
  };
  op.inputs = [](const CaseSizes& sizes) {
    const int64_t in = sizes.channels[0], out = sizes.channels[1];
    const std::vector<int64_t> half{sizes.size[0] / 2, sizes.size[1] / 2, sizes.size[2] / 2};
    Inputs inputs{{"weight", random_weight({out, 2 * out, 3, 3, 3}, 2 * kTaps * out, 1)},
                  {"up", random_weight({in, out, 2, 2, 2}, in, 2)},
                  {"up_bias", random_normal({out}, 0.1, 3)},
                  {"gain", full({out}, 1)},
                  {"bias", random_normal({out}, 0.1, 4)}};
    add_pending(inputs, "low", volume_shape(half, in), 5);
    add_pending(inputs, "skip", volume_shape(sizes.size, out), 8);
    return inputs;
  };
  op.refusal = [](const CaseSizes& sizes) {
    for (int64_t length : sizes.size) {
      if (length % 2 != 0) return "an even grid";
    }
    return "";
  };
  op.variants =
      method_variants(1, [](const std::string& method, const CaseSizes& sizes, const Inputs& inputs) -> Runner {
        const UpBlockWeight weight =
            pack_up_block(inputs.at("weight"), inputs.at("up"), inputs.at("up_bias"), site_of(method, sizes, 1));
        return [weight, low = pending(inputs, "low"), skip = pending(inputs, "skip"), norm = norm_of(inputs)] {
          conv3d_norm_up(low, skip, weight, norm);
        };
      });
  return op;
}

BenchOperation conv3d_operation() {
  BenchOperation op = convolution("conv3d", "3x3x3 convolution with a bias, no norm");
  op.cases = {{{64, 64}, {96, 96, 96}}, {{3, 64}, {96, 96, 96}}};
  op.standard = 0;
  op.work = [](const CaseSizes& sizes) { return conv_work(sizes, 1); };
  op.inputs = [](const CaseSizes& sizes) -> Inputs {
    const int64_t in = sizes.channels[0], out = sizes.channels[1];
    return {{"x", random_activations(volume_shape(sizes.size, in), 1)},
            {"weight", random_weight({out, in, 3, 3, 3}, kTaps * in, 2)},
            {"bias", random_normal({out}, 0.1, 3)}};
  };
  const auto prepare = [](const CaseSizes&, const Inputs& inputs) -> Runner {
    const PackedConv3d weight = pack_conv3d(inputs.at("weight"));
    return [weight, x = inputs.at("x"), bias = inputs.at("bias")] { conv3d(x, weight, bias); };
  };
  op.variants = {simd_variant("direct", prepare), plain_variant(prepare)};
  return op;
}

BenchOperation conv_transpose3d_operation() {
  BenchOperation op = convolution("conv_transpose3d", "2x2x2 transposed convolution that doubles the grid HxWxD");
  op.cases = {{{64, 64}, {48, 48, 48}}, {{128, 64}, {24, 24, 24}}};
  op.work = [](const CaseSizes& sizes) -> Work {
    const double in = double(sizes.channels[0]), out = double(sizes.channels[1]);
    const double voxels = double(product_of(sizes.size));
    return {2 * 8 * in * out * voxels, 4 * ((in + 8 * out) * voxels + 8 * in * out)};
  };
  op.inputs = [](const CaseSizes& sizes) -> Inputs {
    const int64_t in = sizes.channels[0], out = sizes.channels[1];
    return {{"x", random_activations(volume_shape(sizes.size, in), 1)},
            {"weight", random_weight({in, out, 2, 2, 2}, in, 2)},
            {"bias", random_normal({out}, 0.1, 3)}};
  };
  const auto prepare = [](const CaseSizes&, const Inputs& inputs) -> Runner {
    const PackedMatrix weight = pack_conv_transpose3d(inputs.at("weight"));
    return [weight, x = inputs.at("x"), bias = inputs.at("bias")] { conv_transpose3d(x, weight, bias); };
  };
  op.variants = {simd_variant("simd", prepare), plain_variant(prepare)};
  return op;
}

}  // namespace

std::vector<BenchOperation> bench_convolutions() {
  return {conv3d_norm_operation(1), conv3d_norm_up_operation(), conv3d_norm_operation(2), conv3d_operation(),
          conv_transpose3d_operation()};
}

}  // namespace sat::cli
