// The convolutions that `sat bench` measures, in every form that the library has.
// Rates count the dense sum, 2 * 27 * in * out flop a voxel of the output, whatever the form needs.
#include <cmath>

#include "examples/sat/bench_case.h"
#include "sat/tensor/ops.h"

namespace sat::cli {

namespace {

constexpr int64_t kTaps = 27;

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

/// Inputs "x" and, where there are two, "skip", which share the channels; "weight" as it is published; "bias".
Inputs conv_inputs(const CaseSizes& sizes, int64_t parts) {
  const int64_t in = sizes.channels[0], out = sizes.channels[1];
  Inputs inputs{{"x", random_activations(volume_shape(sizes.size, in / parts), 1)},
                {"weight", random_weight({out, in, 3, 3, 3}, kTaps * in, 2)},
                {"bias", random_normal({out}, 0.1, 3)}};
  if (parts == 2) inputs["skip"] = random_activations(volume_shape(sizes.size, in / 2), 4);
  return inputs;
}

Runner direct(const Inputs& inputs, int64_t stride) {
  const PackedConv3d weight = pack_conv3d(inputs.at("weight"));
  return [weight, stride, x = inputs.at("x"), bias = inputs.at("bias")] { conv3d(x, weight, bias, {stride, 1}); };
}

Runner direct_joined(const Inputs& inputs) {
  const PackedConv3d weight = pack_conv3d(inputs.at("weight"));
  return [weight, x = inputs.at("x"), skip = inputs.at("skip"), bias = inputs.at("bias")] {
    conv3d_joined(x, skip, weight, bias);
  };
}

BenchOperation conv_operation(int64_t stride) {
  BenchOperation op;
  op.channel_names = {"IN", "OUT"};
  op.size_names = {"H", "W", "D"};
  op.work = [stride](const CaseSizes& sizes) { return conv_work(sizes, stride); };
  op.inputs = [](const CaseSizes& sizes) { return conv_inputs(sizes, 1); };
  const auto prepare = [stride](const CaseSizes&, const Inputs& inputs) { return direct(inputs, stride); };
  op.variants = {simd_variant("direct", prepare), plain_variant(prepare)};
  return op;
}

BenchOperation conv3d_operation() {
  BenchOperation op = conv_operation(1);
  op.name = "conv3d";
  op.what = "3x3x3 convolution";
  op.cases = {{{64, 64}, {96, 96, 96}},
              {{128, 128}, {48, 48, 48}},
              {{256, 256}, {24, 24, 24}},
              {{3, 64}, {96, 96, 96}},
              {{512, 512}, {12, 12, 12}}};
  op.standard = 4;
  return op;
}

BenchOperation conv3d_stride2_operation() {
  BenchOperation op = conv_operation(2);
  op.name = "conv3d_stride2";
  op.what = "3x3x3 convolution that halves the grid";
  op.cases = {{{64, 64}, {96, 96, 96}}, {{64, 128}, {48, 48, 48}}, {{128, 256}, {24, 24, 24}}};
  return op;
}

BenchOperation conv3d_joined_operation() {
  BenchOperation op;
  op.name = "conv3d_joined";
  op.what = "3x3x3 convolution of two inputs with half of the channels each";
  op.channel_names = {"IN", "OUT"};
  op.size_names = {"H", "W", "D"};
  op.cases = {{{128, 64}, {96, 96, 96}}, {{256, 128}, {48, 48, 48}}};
  op.work = [](const CaseSizes& sizes) { return conv_work(sizes, 1); };
  op.inputs = [](const CaseSizes& sizes) { return conv_inputs(sizes, 2); };
  op.refusal = [](const CaseSizes& sizes) {
    return sizes.channels[0] % 2 == 0 ? "" : "an even number of input channels, for two inputs";
  };
  const auto prepare = [](const CaseSizes&, const Inputs& inputs) { return direct_joined(inputs); };
  op.variants = {simd_variant("direct", prepare), plain_variant(prepare)};
  return op;
}

BenchOperation conv_transpose3d_operation() {
  BenchOperation op;
  op.name = "conv_transpose3d";
  op.what = "2x2x2 transposed convolution that doubles the grid HxWxD";
  op.channel_names = {"IN", "OUT"};
  op.size_names = {"H", "W", "D"};
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
  return {conv3d_operation(), conv3d_joined_operation(), conv3d_stride2_operation(), conv_transpose3d_operation()};
}

}  // namespace sat::cli
