// The bits of results of ops whose kernels are not called by themselves, at small, awkward sizes.
#include "sat/tensor/ops.h"
#include "tests/cuda/counts/kernel_runs.h"
#include "tests/cuda/device_context.h"
#include "tests/support/golden.h"

namespace sat::test {

namespace {

Tensor made(const std::string& name, const Shape& shape, double scale = 1, double offset = 0) {
  return to_compute_device(field(name, shape, scale, offset));
}

std::string line(const std::string& name, const std::vector<Tensor>& results) {
  Hash hash;
  for (const Tensor& result : results) {
    const Tensor here = to_host(result);
    hash.add(here.raw(), here.bytes());
  }
  return "op/" + name + " " + hash.text();
}

Features made_features(const Shape& shape, DType dtype) {
  const Shape per_channel({shape[0], shape[4]});
  Features x{to_compute_device(field("x", shape, 1).cast(dtype))};
  x.center = made("center", per_channel, 0.2);
  x.factor = made("factor", per_channel, 0.5, 1);
  x.shift = made("shift", per_channel, 0.5);
  x.slope = 0.01f;
  return x;
}

}  // namespace

std::vector<std::string> op_bits() {
  std::vector<std::string> lines;
  for (const DType type : {DType::f32, DType::f16, DType::bf16}) {
    cuda::DeviceOptions options;
    if (type != DType::f32) options.half = type;
    const DeviceContext device(type == DType::f32 ? Precision::exact : Precision::fast, options);
    const std::string of_type = std::string("/") + name_of(type);
    lines.push_back(line("linear" + of_type, {linear(made("x", {17, 24}), pack_linear(field("weight", {48, 24}, 0.2)),
                                                     made("bias", {48}), Activation::gelu)}));
    Segments windows = equal_segments(2, 49, 49);
    for (int64_t row = 0; row < 98; ++row) windows.regions.push_back(uint8_t(row / 5 % 3));
    const Tensor x = made("x", {98, 32});
    const Features volume = made_features({2, 3, 5, 7, 24}, type);
    lines.push_back(line("blocks" + of_type, {attention(x, x, x, 2, windows, made("relative", {2, 49, 49})),
                                              linear_add(x, x, pack_linear(field("weight", {32, 32}, 0.2)),
                                                         made("bias", {32}), made("scale", {32})),
                                              sum_features(volume, {made("other", {2, 3, 5, 7, 24})}, 0.01f).values}));
    lines.push_back(line("materialize" + of_type, {materialize(made_features({2, 3, 5, 7, 24}, type))}));
    lines.push_back(line("avg_pool3d" + of_type, {avg_pool3d(made_features({2, 4, 6, 2, 24}, type), 2)}));
  }

  const DeviceContext device(Precision::exact);
  const std::vector<int64_t> first = {0, 5, 6, 17};
  const std::vector<uint8_t> flags = {1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0};
  const Tensor rows = made("rows", {17, 96});
  lines.push_back(line(
      "rows", {gather_rows(made("table", {7, 48}), {3, 0, 6, 6, 1}), mean_of_rows(rows, first, flags),
               add(rows, made("row", {96})), layer_norm(rows, made("gain", {96}, 0.2, 1), made("bias", {96}), 1e-5f),
               product_transposed(rows, made("columns", {5, 96}))}));
  const std::vector<int64_t> buckets = {0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6, 6};
  const Tensor bias = attention_bias(made("relative", {7, 3}), buckets, first, flags);
  lines.push_back(line("attention", {bias, attention(rows, rows, rows, 3, {first, first}, bias)}));
  lines.push_back(
      line("conv3d", {conv3d(made("x", {2, 5, 6, 7, 3}), pack_conv3d(field("weight", {40, 3, 5, 5, 5}, 0.1)),
                             made("bias", {40}), {2, 1}),
                      conv_transpose3d(made("x", {2, 3, 4, 5, 12}),
                                       pack_conv_transpose3d(field("up", {12, 7, 2, 2, 2}, 0.3)), Tensor())}));
  const Tensor image = made("image", {2, 9, 7, 20});
  const Features normed = instance_norm(made("volume", {2, 9, 7, 5, 20}), {made("gain", {20}), made("shift", {20})});
  lines.push_back(
      line("images", {conv2d(image, pack_conv2d(field("weight", {40, 20, 3, 3}, 0.1)), made("bias", {40})),
                      split_patches(image, 2), join_patches(image, 2), max_pool2d(image, 3), gelu(image),
                      resample2d(image, cubic_taps(9, 13), mean_taps(7, 4)), normed.center, normed.factor}));
  const Tensor steps = made("steps", {2, 150, 40}), states = made("states", {2, 150, 16}), direct = made("d", {40});
  lines.push_back(
      line("sequences", {causal_conv1d_silu(steps, made("weight", {40, 4}), direct),
                         selective_scan(steps, steps, made("log_a", {40, 16}), states, states, direct, steps),
                         attention_map(rows, rows, 3)}));
  Tensor weights = made("weights", {5, 7, 9}, 0.4, 1), scores = made("scores", {5, 7, 9, 3});
  ScoreRegion region;
  region.size = {5, 6, 7};
  accumulate_importance(weights, made("importance", {5, 7, 9}), region);
  divide_rows(scores, weights, 1, 1, 4);
  lines.push_back(line("importance", {weights, scores}));
  return lines;
}

}  // namespace sat::test
