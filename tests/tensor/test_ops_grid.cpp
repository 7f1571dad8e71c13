// Pooling and score accumulation: the claims of ops.h, on every CPU level of this machine.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "sat/tensor/ops.h"
#include "tests/support/golden.h"
#include "tests/support/levels.h"

using namespace sat;
using namespace sat::test;

TEST_CASE("pooling averages blocks") {
  const int64_t k = 3, C = 5;
  const Tensor x = field("x", {2, 6, 3, 9, C}, 1), want({2, 2, 1, 3, C});
  for (int64_t at = 0; at < want.numel(); ++at) {
    const int64_t c = at % C, d = at / C % 3, bh = at / C / 3;
    double sum = 0;
    for (int64_t i = 0; i < k * k * k; ++i) {
      const int64_t voxel = ((bh * k + i / 9) * 3 + i / 3 % 3) * 9 + d * k + i % 3;
      sum += double(x.data<float>()[voxel * C + c]) / 27;
    }
    want.data<float>()[at] = float(sum);
  }
  const auto compute = [&] { return avg_pool3d({x}, k); };
  for (CpuLevel level : levels()) CHECK(mismatch(computed(level, 2, compute), want, {1e-6, 1e-6}) == "");
  CHECK(difference_by_threads(compute) == "");
  CHECK(mismatch(avg_pool3d({x}, 1), x, {}) == "");
  CHECK_THROWS_WITH_AS(avg_pool3d({x}, 2), doctest::Contains("does not divide into 2 x 2 x 2 blocks"), Error);
}

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

Tensor accumulated(const Scene& s) {
  Tensor scores = s.before.clone();
  accumulate_mask_scores(scores, {s.features, {}, {}, {}}, pack_linear(s.masks), s.importance, s.region);
  return scores;
}

}  // namespace

TEST_CASE("mask scores are accumulated where the region lies, and nowhere else") {
  for (const auto& sizes : {std::pair<int64_t, int64_t>{1, 1}, {3, 17}, {64, 33}, {24, 70}, {300, 4}}) {
    const int64_t C = sizes.first, N = sizes.second;
    const Scene s = scene(C, N);
    const Tensor want = s.before.clone();
    const auto at = [](const Tensor& grid, const std::array<int64_t, 3>& first, int64_t h, int64_t w, int64_t d) {
      const int front = grid.shape.rank() == 5 ? 1 : 0;
      return ((first[0] + h) * grid.shape[front + 1] + first[1] + w) * grid.shape[front + 2] + first[2] + d;
    };
    for (int64_t h = 0; h < s.region.size[0]; ++h) {
      for (int64_t w = 0; w < s.region.size[1]; ++w) {
        for (int64_t d = 0; d < s.region.size[2]; ++d) {
          for (int64_t n = 0; n < N; ++n) {
            double logit = 0;
            for (int64_t c = 0; c < C; ++c) {
              logit += double(s.features.data<float>()[at(s.features, s.region.in_features, h, w, d) * C + c]) *
                       double(s.masks.data<float>()[n * C + c]);
            }
            want.data<float>()[at(want, s.region.in_scores, h, w, d) * N + n] +=
                float(double(s.importance.data<float>()[at(s.importance, s.region.in_importance, h, w, d)]) *
                      std::tanh(logit / 2));
          }
        }
      }
    }
    CAPTURE(C);
    CAPTURE(N);
    for (CpuLevel level : levels()) {
      CHECK(mismatch(computed(level, 2, [&] { return accumulated(s); }), want, {1e-6, 2e-6}) == "");
    }
    CHECK(difference_by_threads([&] { return accumulated(s); }) == "");
  }
}

TEST_CASE("mask scores take half-width features and a pending norm as if they had been made final before") {
  for (const auto& sizes : {std::pair<int64_t, int64_t>{3, 17}, {64, 70}, {21, 5}}) {
    const int64_t C = sizes.first, N = sizes.second;
    const Scene s = scene(C, N);
    const Features pending{s.features, field("center", {1, C}, 0.4), field("factor", {1, C}, 0.5, 1.5),
                           field("shift", {1, C}, 0.3), 0.01f};
    Scene ready = s;
    ready.features = s.features.clone();
    for (int64_t i = 0; i < ready.features.numel(); ++i) {
      float& value = ready.features.data<float>()[i];
      const int64_t c = i % C;
      value = std::fma(value - pending.center.data<float>()[c], pending.factor.data<float>()[c],
                       pending.shift.data<float>()[c]);
      if (value < 0) value *= 0.01f;
    }
    const auto with = [&](const Features& features) {
      Tensor scores = s.before.clone();
      accumulate_mask_scores(scores, features, pack_linear(s.masks), s.importance, s.region);
      return scores;
    };
    CAPTURE(C);
    const Tensor half = s.features.cast(DType::f16);
    for (CpuLevel level : levels()) {
      CAPTURE(name_of(level));
      const Tensor want = computed(level, 1, [&] { return accumulated(ready); });
      CHECK(mismatch(computed(level, 2, [&] { return with(pending); }), want, {1e-6, 1e-6}) == "");
      Features narrow = pending, widened = pending;
      narrow.values = half;
      widened.values = half.cast(DType::f32);
      const auto from_half = [&] { return with(narrow); };
      CHECK(same_bits(computed(level, 2, from_half), computed(level, 1, [&] { return with(widened); })));
      CHECK(difference_by_threads(from_half) == "");
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
      accumulate_mask_scores(sums, {from_values({1, 1, 1, N, 1}, logits), {}, {}, {}}, pack_linear(full({1, 1}, 1)),
                             full({1, 1, N}, 1), region);
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
    CHECK_THROWS_WITH_AS(accumulated(wrong), doctest::Contains("a region of 7 voxels on axis 2 leaves scores"), Error);
    first[2] = -1;
    CHECK_THROWS_AS(accumulated(wrong), Error);
  }
  Scene wrong = s;
  wrong.masks = zeros({2, 4});
  CHECK_THROWS_WITH_AS(accumulated(wrong), doctest::Contains("masks [2, 4]"), Error);
  Tensor scores = s.before.clone();
  const Tensor norm = full({1, 3}, 1), short_norm = full({1, 2}, 1);
  for (const Features& pending : {Features{s.features, norm, norm, {}}, Features{s.features, {}, norm, norm},
                                  Features{s.features, norm, short_norm, norm}}) {
    CHECK_THROWS_WITH_AS(accumulate_mask_scores(scores, pending, pack_linear(s.masks), s.importance, s.region),
                         doctest::Contains("is pending, needs [1, 3]"), Error);
  }
}
