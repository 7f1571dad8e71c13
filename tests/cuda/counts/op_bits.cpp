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
                             made("bias", {40}), {.stride = 2, .padding = 1}),
                      conv_transpose3d(made("x", {2, 3, 4, 5, 12}),
                                       pack_conv_transpose3d(field("up", {12, 7, 2, 2, 2}, 0.3)), Tensor())}));
  Tensor weights = made("weights", {5, 7, 9}, 0.4, 1), scores = made("scores", {5, 7, 9, 3});
  ScoreRegion region;
  region.size = {5, 6, 7};
  accumulate_importance(weights, made("importance", {5, 7, 9}), region);
  divide_rows(scores, weights, 1, 1, 4);
  lines.push_back(line("importance", {weights, scores}));
  return lines;
}

}  // namespace sat::test
