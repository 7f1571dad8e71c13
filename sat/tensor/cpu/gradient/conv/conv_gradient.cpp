// Gradients of a convolution: what is refused, and which method computes them.
#include "sat/tensor/cpu/gradient/conv/conv_gradient.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "sat/tensor/context.h"
#include "sat/tensor/cpu/amx/matrix_piece.h"
#include "sat/tensor/cpu/gradient/conv/gradient_job.h"
#include "sat/tensor/cpu/gradient/conv/input_gradient.h"
#include "sat/tensor/cpu/gradient/conv/weight_gradient.h"
#include "sat/tensor/ops/score_sizes.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kFewestChannels = 16;                 // fewer leave a product's tile empty
constexpr int64_t kFewestVoxelsOnTiles = 16 * 16 * 16;  // fewer do not pay for packing the weight
constexpr int64_t kMostOutputs6 = 128;                  // F(6, 3) sums of more would be off by 1e-5
constexpr int64_t kWholeBytes = 16 << 20;  // of transformed tiles, which the last cache must hold beside the weights

constexpr AxisKind f2 = AxisKind::f2, f4 = AxisKind::f4, f6 = AxisKind::f6, s2 = AxisKind::stride2,
                   s2_back = AxisKind::stride2_back;
const std::vector<WinogradKind> kInputKinds[] = {{{f6, f4, f4}, {f4, f4, f4}, {f2, f2, f2}},
                                                 {{s2_back, s2_back, s2_back}}};
const std::vector<WinogradKind> kWeightKinds[] = {{{f6, f4, f4}, {f4, f4, f4}, {f2, f2, f2}}, {{s2, s2, s2}}};
constexpr double kBesideProducts = 1.4;  // of a tile's products: its transforms
constexpr double kBesideSums = 4;        // of a point's product: the transform of its sum

/// Multiply-adds for a pair of channels.
double direct_work(const GradientShape& shape) {
  double work = double(shape.batch);
  for (size_t axis = 0; axis < 3; ++axis) {
    const int64_t missed = shape.stride == 1 || shape.size[axis] % 2 == 1 ? 2 : 1;  // taps that lie outside
    work *= double(3 * shape.out_size[axis] - missed);
  }
  return work;
}

double winograd_work(const GradientShape& shape, const WinogradKind& kind, const std::array<int64_t, 3>& tiled) {
  double points = 1, tiles = double(shape.batch);
  for (size_t axis = 0; axis < 3; ++axis) {
    points *= double(axis_of(kind[axis]).points);
    tiles *= double(divide_up(tiled[axis], axis_of(kind[axis]).outputs));
  }
  return points * (kBesideProducts * tiles + kBesideSums);
}

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
                           int64_t stride, const AmxLoops* tiles) {
  const GradientShape shape = shape_of("conv3d_input_gradient", dx.shape, dy.shape, weight.shape, first_in, stride);
  const InputGradient job{dx.address<float>(), add, dy.address<float>(), weight.address<float>(), shape};
  const Simd* simd = current_simd();
  if (!simd) return plain_input_gradient(job.dx, add, job.dy, job.weight, shape);
  const bool few = std::min(shape.channels, shape.out) < kFewestChannels;
  const bool fast = tiles && Context::current().precision() == Precision::fast;
  if (fast && stride == 1 && !few && shape.batch * shape.voxels() >= kFewestVoxelsOnTiles) {
    return amx_input_gradient(job, tiles->conv);
  }
  double least = direct_work(shape);
  std::optional<WinogradKind> best;
  for (const WinogradKind& kind : kInputKinds[stride - 1]) {
    const double work = winograd_work(shape, kind, shape.size);
    if (few || work >= least) continue;
    if (kind[0] == f6 && shape.out > kMostOutputs6) continue;
    least = work;
    best = kind;
  }
  if (!best) return direct_input_gradient(job, *simd);
  const bool whole = whole_bytes(shape, *best) <= kWholeBytes;
  whole ? whole_input_gradient(job, *best) : winograd_input_gradient(job, *best);
}

void conv3d_weight_gradient(Tensor& dw, int64_t first_in, const Features& x, const Tensor& dy, int64_t stride,
                            bool add) {
  const GradientShape shape = shape_of("conv3d_weight_gradient", x.values.shape, dy.shape, dw.shape, first_in, stride);
  const CpuLevel level = Context::current().cpu();
  if (level == CpuLevel::plain) {
    const Tensor values = sat::materialize(x);
    return plain_weight_gradient(dw.address<float>(), add, values.address<float>(), dy.address<float>(), shape);
  }
  const WeightGradient job{dw.address<float>(), add, x, dy.address<float>(), shape};
  if (has_few_channels(shape)) return few_channels_weight_gradient(job, *current_simd());
  const OuterProduct outer = level == CpuLevel::avx2 ? outer_product_avx2 : outer_product_avx512;
  if (std::min(shape.channels, shape.out) < kFewestChannels) return direct_weight_gradient(job, outer);
  double least = direct_work(shape);
  std::optional<WinogradKind> best;
  for (const WinogradKind& kind : kWeightKinds[stride - 1]) {
    const double work = winograd_work(shape, kind, shape.out_size);
    if (work >= least) continue;
    least = work;
    best = kind;
  }
  best ? winograd_weight_gradient(job, *best) : direct_weight_gradient(job, outer);
}

}  // namespace sat::cpu
