// Claims: ECAMP's losses and scores have the recorded values, count what they say, and do not depend on threads.
#include <doctest/doctest.h>

#include <cmath>

#include "sat/nn/image/ecamp/pretraining/pretraining_losses.h"
#include "sat/nn/image/ecamp/segmentation_scores.h"
#include "sat/nn/image/losses.h"
#include "sat/tensor/context.h"
#include "tests/support/golden.h"

using namespace sat;
using namespace sat::test;

namespace {

/// 0 or 1: whether a number of the stream is below 0.3.
Tensor some_of(const std::string& name, const Shape& shape) {
  const std::vector<double> draws = unit(name, shape.numel());
  Tensor targets(shape);
  for (size_t i = 0; i < draws.size(); ++i) targets.data<float>()[i] = draws[i] < 0.3 ? 1.f : 0.f;
  return targets;
}

/// One image of 2 x 2 patches of 8 x 8 pixels and 28 x 28 large ones, two tokens of three words.
struct Example {
  EcampForward made;
  PatchMasks masks = mask_patches({0.1f, 0.4f, 0.3f, 0.2f}, 1);
  EcampTargets targets;

  Example() {
    made.image = field("image", {1, 14, 14, 3}, 1);
    made.predicted = field("predicted", {1, 4, 147}, 1);
    made.sharpened = field("sharpened", {1, 28, 28, 3}, 1);
    made.logits = field("logits", {2, 3}, 2);
    targets.images = field("large", {1, 28, 28, 3}, 1);
    targets.focuses = {{1, 2}};
    targets.words = {2, 0};
    targets.word_weights = {1, 0.05f};
  }
};

}  // namespace

TEST_CASE("pixels count where they were not seen, divided by all of them") {
  const Example example;
  double want = 0;
  for (int64_t i = 0; i < 14 * 14 * 3; ++i) {
    const int64_t c = i % 3, x = i / 3 % 14, y = i / 42, patch = y / 7 * 2 + x / 7;
    if (patch == 0) continue;  // the only one that was seen
    const float predicted = example.made.predicted.data<float>()[patch * 147 + (y % 7 * 7 + x % 7) * 3 + c];
    const double error = double(predicted) - double(example.made.image.data<float>()[i]);
    want += error * error / (14 * 14 * 3);
  }
  CHECK(pretraining_losses(example.made, example.masks, example.targets).pixels ==
        doctest::Approx(want).epsilon(1e-12));
}

TEST_CASE("sharpness counts in the report's focus, its first number the row, clipped at the edge") {
  const Example example;
  double want = 0;
  for (int64_t i = 0; i < 28 * 28 * 3; ++i) {
    const int64_t x = i / 3 % 28 / 2, y = i / 84 / 2;  // on the grid of 14 x 14
    if (y < 1 || y >= 13 || x < 2) continue;
    const double error =
        double(example.made.sharpened.data<float>()[i]) - double(example.targets.images.data<float>()[i]);
    want += error * error / (28 * 28 * 3);
  }
  CHECK(pretraining_losses(example.made, example.masks, example.targets).sharpness ==
        doctest::Approx(want).epsilon(1e-12));
}

TEST_CASE("every word counts by its weight, divided by all tokens") {
  const Example example;
  const float* z = example.made.logits.data<float>();
  const auto loss = [&](int64_t row, int64_t label) {
    double total = 0;
    for (int64_t k = 0; k < 3; ++k) total += std::exp(double(z[row * 3 + k]));
    return std::log(total) - double(z[row * 3 + label]);
  };
  const EcampLosses losses = pretraining_losses(example.made, example.masks, example.targets);
  CHECK(losses.words == doctest::Approx((loss(0, 2) + double(0.05f) * loss(1, 0)) / 2).epsilon(1e-12));
  CHECK(losses.total() == losses.pixels + losses.sharpness + losses.words);
}

TEST_CASE("focuses, words and weights that do not belong to the forward pass are refused") {
  const auto refused = [](const auto& spoil, const char* words) {
    Example example;
    spoil(example);
    CHECK_THROWS_WITH_AS(pretraining_losses(example.made, example.masks, example.targets), doctest::Contains(words),
                         Error);
  };
  refused([](Example& e) { e.targets.focuses[0].top = 14; }, "a focus at 14, 2 of a grid of 14");
  refused([](Example& e) { e.targets.focuses.clear(); }, "0 focuses");
  refused([](Example& e) { e.targets.words[0] = 3; }, "label 3 of 3 classes");
  refused([](Example& e) { e.targets.words.pop_back(); }, "1 labels");
  refused([](Example& e) { e.targets.images = zeros({1, 14, 14, 3}); }, "targets of shape [1, 14, 14, 3]");
}

TEST_CASE("the segmentation loss has the recorded values") {
  const Tensor truth = some_of("seg_target", {2, 8, 8});
  const SegmentationLoss loss = segmentation_loss(field("seg_logits", {2, 8, 8}, 3), truth);
  CHECK(loss.focal == doctest::Approx(.616158366).epsilon(1e-8));
  CHECK(loss.dice == doctest::Approx(.37228011).epsilon(1e-8));
  CHECK(loss.total() == doctest::Approx(7.14969238).epsilon(1e-8));
}

TEST_CASE("Dice is counted an image, and is 1 or 0 where nothing is true") {
  Tensor truth = some_of("seg_target", {2, 8, 8});
  Tensor logits = field("seg_logits", {2, 8, 8}, 3);
  const std::vector<double> scores = dice_scores(logits, truth);
  CHECK(scores[0] == doctest::Approx(22. / 47));
  CHECK(scores[1] == doctest::Approx(16. / 53));
  copy_into(truth, 1, zeros({1, 8, 8}));
  CHECK(dice_scores(logits, truth)[1] == 0);
  copy_into(logits, 1, full({1, 8, 8}, -1));
  CHECK(dice_scores(logits, truth)[1] == 1);
  CHECK_THROWS_WITH_AS(dice_scores(logits, zeros({2, 8})), doctest::Contains("against truth of shape [2, 8]"), Error);
}

TEST_CASE("losses are the same number for any number of threads") {
  const auto losses = [](int threads) {
    ContextOptions options;
    options.threads = threads;
    Context context(options);
    UseContext use(context);
    const Tensor logits = field("logits", {700, 50}, 4);
    const Tensor truth = some_of("targets", logits.shape);
    const std::vector<float> targets(truth.data<float>(), truth.data<float>() + truth.numel());
    return std::vector<double>{binary_cross_entropy(logits, targets), segmentation_loss(logits, truth).total(),
                               cross_entropy(logits, std::vector<int64_t>(700, 7))};
  };
  const std::vector<double> alone = losses(1);
  for (int threads : {2, 3, 8}) CHECK(losses(threads) == alone);
}
