// Squared errors over masked pixels and in focus, in double and in a fixed order.
#include "sat/nn/image/ecamp/pretraining/pretraining_losses.h"

#include "sat/nn/image/losses.h"

namespace sat {

namespace {

/// Whether pixel (y, x) of image b counts.
using Counts = std::function<bool(int64_t b, int64_t y, int64_t x)>;

/// The sum over counted pixels of (a - b)^2, divided by the number of all values. Images [B, H, W, C].
double masked_squares(const Tensor& a, const Tensor& b, const Counts& counts) {
  const Tensor here = to_host(a), there = to_host(b);
  const float* p = here.address<float>();
  const float* q = there.address<float>();
  const int64_t H = a.shape[1], W = a.shape[2], C = a.shape[3];
  const double sum = ordered_sum(a.shape[0] * H, 1, [&](int64_t row, int64_t) {
    double squares = 0;
    for (int64_t x = 0; x < W; ++x) {
      if (!counts(row / H, row % H, x)) continue;
      for (int64_t i = (row * W + x) * C; i < (row * W + x + 1) * C; ++i) {
        const double error = double(p[i]) - double(q[i]);
        squares += error * error;
      }
    }
    return squares;
  });
  return sum / double(a.numel());
}

}  // namespace

EcampLosses pretraining_losses(const EcampForward& made, const PatchMasks& masks, const EcampTargets& targets) {
  const int64_t B = masks.images, H = made.sharpened.shape[1], W = made.sharpened.shape[2];
  SAT_CHECK(targets.images.shape == made.sharpened.shape && int64_t(targets.focuses.size()) == B,
            "ECAMP's losses: targets of shape ", targets.images.shape, " with ", targets.focuses.size(),
            " focuses for images of shape ", made.sharpened.shape);
  for (const ReportFocus& focus : targets.focuses) {
    SAT_CHECK(focus.top >= 0 && focus.left >= 0 && focus.top < ReportFocus::kGrid && focus.left < ReportFocus::kGrid,
              "ECAMP's losses: a focus at ", focus.top, ", ", focus.left, " of a grid of ", ReportFocus::kGrid);
  }
  const int64_t rows = made.image.shape[1], columns = made.image.shape[2], values = made.predicted.shape[2];
  int64_t patch = 1;
  while (patch * patch * made.image.shape[3] < values) ++patch;
  const int64_t across = columns / patch;
  const Tensor predicted = join_patches(reshape(made.predicted, {B, rows / patch, across, values}), patch);

  EcampLosses losses;
  losses.pixels = masked_squares(predicted, made.image, [&](int64_t b, int64_t y, int64_t x) {
    return masks.removed[size_t(b * masks.patches + y / patch * across + x / patch)] != 0;
  });
  losses.sharpness = masked_squares(made.sharpened, targets.images, [&](int64_t b, int64_t y, int64_t x) {
    const ReportFocus& focus = targets.focuses[size_t(b)];
    const int64_t row = y * ReportFocus::kGrid / H - focus.top, column = x * ReportFocus::kGrid / W - focus.left;
    return row >= 0 && row < ReportFocus::kSide && column >= 0 && column < ReportFocus::kSide;
  });
  losses.words = cross_entropy(made.logits, targets.words, targets.word_weights);
  return losses;
}

}  // namespace sat
