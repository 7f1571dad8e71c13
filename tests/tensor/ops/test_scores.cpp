// Scores on voxel grids, beside the table of ops: what they are the same as, the squashing function, and what is
// refused.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "sat/tensor/ops.h"
#include "tests/support/golden.h"
#include "tests/support/levels.h"

using namespace sat;
using namespace sat::test;

namespace {

struct Scene {
  Tensor features, masks, importance, before;
  ScoreRegion region;
};

/// Grids of different sizes, and a region that lies elsewhere in each.
Scene scene(int64_t channels, int64_t prompts) {
  Scene s{field("features", {1, 5, 7, 9, channels}, 1),
          field("masks", {prompts, channels}, 1),
          field("importance", {6, 7, 8}, 0.5, 0.6),
          field("scores", {8, 9, 10, prompts}, 1),
          {}};
  s.region.in_features = {1, 0, 2};
  s.region.in_importance = {2, 1, 0};
  s.region.in_scores = {3, 4, 1};
  s.region.size = {4, 5, 7};
  return s;
}

Tensor accumulated(const Scene& s, const Features& features) {
  Tensor scores = s.before.clone();
  accumulate_mask_scores(scores, features, s.masks, s.importance, s.region);
  return scores;
}
Tensor accumulated(const Scene& s) { return accumulated(s, {s.features}); }

}  // namespace

TEST_CASE("mask scores take half-width features and a pending norm as if they had been made final before") {
  for (const auto& sizes : {std::pair<int64_t, int64_t>{3, 17}, {64, 70}, {21, 5}}) {
    const int64_t C = sizes.first;
    const Scene s = scene(C, sizes.second);
    const Features narrow{s.features.cast(DType::f16), field("center", {1, C}, 0.4), field("factor", {1, C}, 0.5, 1.5),
                          field("shift", {1, C}, 0.3), 0.01f};
    Features widened = narrow;
    widened.values = narrow.values.cast(DType::f32);
    CAPTURE(C);
    for (CpuLevel level : levels()) {
      CAPTURE(name_of(level));
      const Tensor from_half = computed(level, 2, [&] { return accumulated(s, narrow); });
      const Tensor wide = computed(level, 1, [&] { return accumulated(s, widened); });
      CHECK(same_bits(from_half, wide));
      CHECK(mismatch(wide, computed(level, 1, [&] { return accumulated(s, {materialize(widened)}); }), {1e-6, 1e-6}) ==
            "");
    }
  }
}

TEST_CASE("a prompt's scores do not depend on the other prompts") {
  const Scene all = scene(20, 70);
  for (CpuLevel level : levels()) {
    CAPTURE(name_of(level));
    const Tensor together = computed(level, 1, [&] { return accumulated(all); });
    for (int64_t n : {0, 15, 16, 63, 64, 69}) {
      Scene one = all;
      one.masks = all.masks.slice(n, n + 1);
      one.before = Tensor({8, 9, 10, 1});
      for (int64_t v = 0; v < 720; ++v) one.before.data<float>()[v] = all.before.data<float>()[v * 70 + n];
      const Tensor alone = computed(level, 1, [&] { return accumulated(one); });
      int64_t different = 0;
      for (int64_t v = 0; v < 720; ++v) different += alone.data<float>()[v] != together.data<float>()[v * 70 + n];
      CHECK(different == 0);
    }
  }
}

TEST_CASE("the squashing function is tanh(x / 2) to 2e-7 over the whole range, odd, and keeps NaN") {
  std::vector<float> logits;
  for (float x = 0; x < 40; x += 0.00037f) logits.push_back(x);
  for (float x = 1e-38f; x < 1e38f; x *= 1.7f) logits.push_back(x);
  logits.push_back(std::numeric_limits<float>::infinity());
  const size_t count = logits.size();
  for (size_t i = 0; i < count; ++i) logits.push_back(-logits[i]);
  logits.push_back(std::numeric_limits<float>::quiet_NaN());
  const auto N = int64_t(logits.size());
  ScoreRegion region;
  region.size = {1, 1, N};
  for (CpuLevel level : levels()) {
    CAPTURE(name_of(level));
    const Tensor scores = computed(level, 1, [&] {
      Tensor sums = zeros({1, 1, N, 1});
      accumulate_mask_scores(sums, {from_values({1, 1, 1, N, 1}, logits)}, full({1, 1}, 1), full({1, 1, N}, 1), region);
      return sums;
    });
    const float* got = scores.data<float>();
    double worst = 0;
    bool odd = true;
    for (size_t i = 0; i < count; ++i) {
      worst = std::max(worst, std::abs(double(got[i]) - std::tanh(double(logits[i]) / 2)));
      odd = odd && got[i] == -got[count + i];
    }
    CHECK(worst < 2e-7);
    CHECK(odd);
    CHECK(got[count - 1] == 1);
    CHECK(std::isnan(got[N - 1]));
  }
}

TEST_CASE("a score region that leaves one of its grids is refused, with the numbers") {
  const Scene s = scene(3, 2);
  for (int place = 0; place < 3; ++place) {
    Scene wrong = s;
    auto& first = place == 0   ? wrong.region.in_features
                  : place == 1 ? wrong.region.in_importance
                               : wrong.region.in_scores;
    first[2] = 7;
    const std::string left = std::string("a region of 7 voxels from 7 on axis 2 leaves ") + (place == 0   ? "features"
                                                                                             : place == 1 ? "importance"
                                                                                                          : "scores");
    CHECK_THROWS_WITH_AS(accumulated(wrong), doctest::Contains(left.c_str()), Error);
    first[2] = -1;
    CHECK_THROWS_AS(accumulated(wrong), Error);
  }
  Scene wrong = s;
  wrong.masks = zeros({2, 4});
  CHECK_THROWS_WITH_AS(accumulated(wrong), doctest::Contains("masks [2, 4]"), Error);
  const Tensor norm = full({1, 3}, 1), short_norm = full({1, 2}, 1);
  for (const Features& pending : {Features{s.features, norm, norm, {}}, Features{s.features, {}, norm, norm},
                                  Features{s.features, norm, short_norm, norm}}) {
    CHECK_THROWS_WITH_AS(accumulated(s, pending), doctest::Contains("needs [1, 3]"), Error);
  }
  CHECK_THROWS_WITH_AS(avg_pool3d({zeros({2, 6, 3, 9, 5})}, 2),
                       doctest::Contains("does not divide into 2 x 2 x 2 blocks"), Error);
  Tensor weights = zeros({8, 9, 10});
  ScoreRegion outside = s.region;
  outside.in_scores[0] = 6;
  CHECK_THROWS_WITH_AS(accumulate_importance(weights, s.importance, outside), doctest::Contains("leaves weights"),
                       Error);
  Tensor scores = s.before.clone();
  CHECK_THROWS_WITH_AS(divide_rows(scores, weights, 1, 4, 10), doctest::Contains("rows [4, 10)"), Error);
  CHECK_THROWS_WITH_AS(divide_rows(scores, zeros({8, 9, 9}), 1, 4, 5), doctest::Contains("[8, 9, 9]"), Error);
}
