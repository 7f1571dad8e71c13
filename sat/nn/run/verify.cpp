// One window twice, compared a few rows and prompts at a time.
#include "sat/nn/run/verify.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "sat/tensor/parallel.h"
#include "sat/tensor/profile.h"

namespace sat {

namespace {

constexpr int64_t kRows = 8, kPrompts = 32;  // compared at once

/// Full-resolution features and mask vectors, on the CPU.
struct Answer {
  Features features;
  Tensor masks;
};

Answer answer_of(const SatModel& model, Context& context, const Tensor& window, const Tensor& queries) {
  UseContext use(context);
  ImageFeatures image = model.encode_image(window);
  Answer answer;
  answer.masks = to_host(select(model.mask_vectors(model.decode(queries, image.memory)), 0));
  answer.features = std::exchange(image.per_voxel[0], Features());
  Features& features = answer.features;
  for (Tensor* x : {&features.values, &features.center, &features.factor, &features.shift}) *x = to_host(*x);
  if (features.values.dtype == DType::bf16) features.values = features.values.cast(DType::f32);
  return answer;
}

/// tanh(l / 2) of rows [first, first + rows) and some prompts: [rows, W, D, n].
Tensor scores_of(const Answer& answer, int64_t first, int64_t rows, int64_t first_prompt, int64_t prompts) {
  const Shape& grid = answer.features.values.shape;
  Tensor scores = zeros({rows, grid[2], grid[3], prompts});
  const Tensor even = full({rows, grid[2], grid[3]}, 1);
  ScoreRegion region;
  region.in_features[0] = first;
  region.size = {rows, grid[2], grid[3]};
  accumulate_mask_scores(scores, answer.features, answer.masks.slice(first_prompt, first_prompt + prompts), even,
                         region);
  return scores;
}

}  // namespace

Verification verify_window(const SatModel& tested, Context& tested_context, const SatModel& exact,
                           Context& exact_context, const Tensor& window, const Tensor& queries) {
  SAT_CHECK(!exact_context.device() && exact_context.precision() == Precision::exact,
            "verify_window: the second context has to compute on the CPU in exact precision");
  profile::Stopwatch watch;
  const Answer found = answer_of(tested, tested_context, window, queries);
  const Answer expected = answer_of(exact, exact_context, window, queries);
  UseContext use(exact_context);
  const int64_t height = window.shape[1], count = queries.shape[0];
  Verification result;
  int64_t changed = 0;
  for (int64_t row = 0; row < height; row += kRows) {
    for (int64_t prompt = 0; prompt < count; prompt += kPrompts) {
      const int64_t rows = std::min(kRows, height - row), prompts = std::min(kPrompts, count - prompt);
      const Tensor a = scores_of(found, row, rows, prompt, prompts),
                   b = scores_of(expected, row, rows, prompt, prompts);
      const float *const left = a.data<float>(), *const right = b.data<float>();
      for (int64_t i = 0, voxels = a.numel(); i < voxels; ++i) {
        const double x = left[i], y = right[i], difference = 0.5 * std::fabs(x - y);
        result.largest_difference = difference <= result.largest_difference ? result.largest_difference : difference;
        changed += (x > 0) != (y > 0);
      }
    }
  }
  result.changed = double(changed) / double(window.numel() * count);
  result.seconds = watch.lap();
  return result;
}

}  // namespace sat
