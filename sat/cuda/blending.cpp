// Scores on the device: the words of ops.h that blend windows.
#include "sat/cuda/accelerator.h"

namespace sat::cuda {

namespace {

std::array<int64_t, 3> first_axes(const Shape& shape, int from = 0) {
  return {shape[from], shape[from + 1], shape[from + 2]};
}

const float* values_of(const Tensor& x) { return static_cast<const float*>(x.raw()); }

}  // namespace

void CudaAccelerator::accumulate_mask_scores(const Tensor& scores, const Features& features, const PackedMatrix& masks,
                                             const Tensor& importance, const ScoreRegion& region) {
  SAT_CHECK(features.values.device == Device::cuda && masks.panels.device == Device::cuda &&
                importance.device == Device::cuda && masks.panels.dtype == DType::f32,
            "accumulate_mask_scores: scores lie on a device, and the rest has to");
  use();
  ConvInput input;
  input.values = features.values.raw();
  input.dtype = features.values.dtype;
  input.channels = features.values.shape[4];
  input.norm = {values_of(features.center), values_of(features.factor), values_of(features.shift), features.slope};
  const ScoreSizes sizes{first_axes(scores.shape), first_axes(features.values.shape, 1), first_axes(importance.shape),
                         masks.out};
  cuda::accumulate_mask_scores(queue_, static_cast<float*>(scores.raw()), input, values_of(masks.panels),
                               values_of(importance), sizes, region);
}

void CudaAccelerator::accumulate_importance(const Tensor& weights, const Tensor& importance,
                                            const ScoreRegion& region) {
  use();
  const ScoreSizes sizes{first_axes(weights.shape), {}, first_axes(importance.shape), 1};
  cuda::accumulate_importance(queue_, static_cast<float*>(weights.raw()), values_of(importance), sizes, region);
}

void CudaAccelerator::divide_rows(const Tensor& scores, const Tensor& weights, int axis, int64_t first, int64_t last) {
  use();
  int64_t outer = 1, inner = 1;
  for (int a = 0; a < axis; ++a) outer *= weights.shape[a];
  for (int a = axis + 1; a < 3; ++a) inner *= weights.shape[a];
  cuda::divide_rows(queue_, static_cast<float*>(scores.raw()), values_of(weights), outer, weights.shape[axis], inner,
                    scores.shape[3], first, last);
}

}  // namespace sat::cuda
