// Gradients of a convolution: what is refused, and which method computes them.
#include "sat/tensor/cpu/gradient/conv/conv_gradient.h"

#include <algorithm>

#include "sat/tensor/context.h"
#include "sat/tensor/cpu/conv/conv_method.h"
#include "sat/tensor/cpu/gradient/conv/gradient_job.h"
#include "sat/tensor/cpu/gradient/conv/input_gradient.h"
#include "sat/tensor/cpu/gradient/conv/weight_gradient.h"
#include "sat/tensor/ops/score_sizes.h"

namespace sat::cpu {

namespace {

constexpr int64_t kFewestChannels = 16;  // fewer leave a product's tile empty
constexpr int64_t kShortestAxisStride2 = 12;
constexpr int64_t kMostPairsStride2 = 128 * 64;

/// The sizes of x, dy and the weight, which must fit each other.
GradientShape shape_of(const char* op, const Shape& x, const Shape& dy, const Shape& weight, int64_t first_in,
                       int64_t stride) {
  const auto volume = [](const Shape& shape) { return shape.rank() == 5 && shape.numel() > 0; };
  SAT_CHECK(volume(x) && volume(dy) && x[0] == dy[0], op, ": inputs have shape ", x, ", the outputs' gradient ", dy,
            ", needs two volumes [B, H, W, D, C] of one batch");
  SAT_CHECK(stride == 1 || stride == 2, op, ": stride is ", stride, ", needs 1 or 2");
  for (int axis = 1; axis < 4; ++axis) {
    SAT_CHECK(dy[axis] == (x[axis] - 1) / stride + 1, op, ": inputs have shape ", x, ", the outputs' gradient ", dy,
              ", which does not fit stride ", stride);
  }
  SAT_CHECK(weight.rank() == 5 && weight[0] == dy[4] && weight[2] == 3 && weight[3] == 3 && weight[4] == 3, op,
            ": the weight has shape ", weight, ", needs [", dy[4], ", in, 3, 3, 3]");
  SAT_CHECK(first_in >= 0 && first_in + x[4] <= weight[1], op, ": channels ", first_in, " to ", first_in + x[4],
            " of a weight with ", weight[1], " inputs");
  return {x[0], grid_of(x, 1), grid_of(dy, 1), stride, first_in, x[4], weight[1], weight[0]};
}

}  // namespace

void conv3d_input_gradient(Tensor& dx, bool add, const Tensor& dy, const Tensor& weight, int64_t first_in,
                           int64_t stride) {
  const GradientShape shape = shape_of("conv3d_input_gradient", dx.shape, dy.shape, weight.shape, first_in, stride);
  const float *from = dy.address<float>(), *taps = weight.address<float>();
  const Simd* simd = current_simd();
  if (!simd) return plain_input_gradient(dx.address<float>(), add, from, taps, shape);
  const int64_t shortest = *std::min_element(shape.size.begin(), shape.size.end());
  if (stride == 2) {
    constexpr AxisKind back = AxisKind::stride2_back;
    const bool winograd = shortest >= kShortestAxisStride2 && shape.channels * shape.out <= kMostPairsStride2 &&
                          std::min(shape.channels, shape.out) >= kFewestChannels;
    if (winograd) return winograd_input_gradient(dx, add, from, taps, shape, {back, back, back});
    return direct_input_gradient(dx, add, from, taps, shape, *simd);
  }
  const ConvMethod method =
      choose_conv_method({shape.out, shape.channels, 3, 1, shape.size}, Precision::exact, Context::current().cpu());
  if (method == ConvMethod::direct) return direct_input_gradient(dx, add, from, taps, shape, *simd);
  winograd_input_gradient(dx, add, from, taps, shape, winograd_kind(method));
}

void conv3d_weight_gradient(Tensor& dw, int64_t first_in, const Features& x, const Tensor& dy, int64_t stride) {
  const GradientShape shape = shape_of("conv3d_weight_gradient", x.values.shape, dy.shape, dw.shape, first_in, stride);
  const CpuLevel level = Context::current().cpu();
  if (level == CpuLevel::plain) {
    const Tensor values = sat::materialize(x);
    return plain_weight_gradient(dw.address<float>(), values.address<float>(), dy.address<float>(), shape);
  }
  const GradientInputs from{x, dy.address<float>(), shape};
  if (std::min(shape.channels, shape.out) < kFewestChannels ||
      std::min({shape.out_size[0], shape.out_size[1], shape.out_size[2]}) < 6) {
    return direct_weight_gradient(dw, from, level == CpuLevel::avx2 ? outer_product_avx2 : outer_product_avx512);
  }
  const AxisKind kind = stride == 2 ? AxisKind::stride2 : AxisKind::f4;
  winograd_weight_gradient(dw, from, {kind, kind, kind});
}

}  // namespace sat::cpu
