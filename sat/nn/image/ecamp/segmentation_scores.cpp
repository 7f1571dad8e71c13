// Focal loss, soft Dice and Dice, in double and in a fixed order.
#include "sat/nn/image/ecamp/segmentation_scores.h"

#include <cmath>

#include "sat/nn/image/losses.h"
#include "sat/tensor/parallel.h"

namespace sat {

namespace {

constexpr int64_t kPiece = 1 << 14;

void check_pair(const char* what, const Tensor& logits, const Tensor& truth) {
  SAT_CHECK(logits.numel() == truth.numel() && logits.numel() > 0 && logits.shape[0] == truth.shape[0], what,
            ": logits of shape ", logits.shape, " against truth of shape ", truth.shape);
}

double sigmoid(double z) { return 1 / (1 + std::exp(-z)); }

}  // namespace

double SegmentationLoss::total() const { return 10 * focal - std::log(dice); }

SegmentationLoss segmentation_loss(const Tensor& logits, const Tensor& truth) {
  check_pair("segmentation loss", logits, truth);
  const Tensor found = to_host(logits), wanted = to_host(truth);
  const float* z = found.address<float>();
  const float* t = wanted.address<float>();
  const auto sum = [&](const auto& term) {
    return ordered_sum(found.numel(), kPiece, [&](int64_t first, int64_t last) {
      double part = 0;
      for (int64_t i = first; i < last; ++i) part += term(double(z[i]), double(t[i]));
      return part;
    });
  };
  SegmentationLoss loss;
  loss.focal = sum([](double logit, double target) {
                 const double doubt = sigmoid(-logit * (2 * target - 1));
                 return binary_cross_entropy_of(logit, target) * doubt * doubt;
               }) /
               double(found.numel());
  const double both = sum([](double logit, double target) { return sigmoid(logit) * target; });
  const double either = sum([](double logit, double target) { return sigmoid(logit) + target; });
  loss.dice = (2 * both + 1) / (either + 1);
  return loss;
}

std::vector<double> dice_scores(const Tensor& logits, const Tensor& truth) {
  check_pair("Dice", logits, truth);
  const Tensor found = to_host(logits), wanted = to_host(truth);
  const float* z = found.address<float>();
  const float* t = wanted.address<float>();
  const int64_t images = logits.shape[0], pixels = logits.numel() / images;
  std::vector<double> scores(size_t(images), 0);
  parallel_for(images, 1, [&](int64_t image, int64_t) {
    int64_t both = 0, in_found = 0, in_truth = 0;
    for (int64_t i = image * pixels; i < (image + 1) * pixels; ++i) {
      const bool inside = z[i] > 0, is_true = t[i] > 0.5f;
      both += inside && is_true ? 1 : 0;
      in_found += inside ? 1 : 0;
      in_truth += is_true ? 1 : 0;
    }
    const double empty = in_found == 0 ? 1 : 0;
    scores[size_t(image)] = in_truth == 0 ? empty : 2 * double(both) / double(in_found + in_truth);
  });
  return scores;
}

}  // namespace sat
