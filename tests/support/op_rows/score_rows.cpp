// Rows of scores on voxel grids.
#include <cmath>
#include <utility>

#include "sat/tensor/ops.h"
#include "tests/support/op_rows/op_rows.h"

namespace sat::test {

namespace {

/// A region that lies elsewhere in each of three grids.
ScoreRegion region() {
  ScoreRegion r;
  r.in_features = {1, 0, 2};
  r.in_importance = {2, 1, 0};
  r.in_scores = {3, 4, 1};
  r.size = {4, 5, 7};
  return r;
}

const Shape kFeatureGrid{1, 5, 7, 9, 1}, kImportanceGrid{6, 7, 8}, kScoreGrid{8, 9, 10};

/// body(voxel of the features, of the importance, of the scores) for each voxel of the region.
template <class Body>
void for_each_voxel(Body body) {
  const ScoreRegion r = region();
  const auto at = [](const Shape& grid, int front, const std::array<int64_t, 3>& first,
                     const std::array<int64_t, 3>& v) {
    return ((first[0] + v[0]) * grid[front + 1] + first[1] + v[1]) * grid[front + 2] + first[2] + v[2];
  };
  for (int64_t h = 0; h < r.size[0]; ++h) {
    for (int64_t w = 0; w < r.size[1]; ++w) {
      for (int64_t d = 0; d < r.size[2]; ++d) {
        body(at(kFeatureGrid, 1, r.in_features, {h, w, d}), at(kImportanceGrid, 0, r.in_importance, {h, w, d}),
             at(kScoreGrid, 0, r.in_scores, {h, w, d}));
      }
    }
  }
}

Doubles accumulated(const Doubles& scores, const Doubles& features, const Doubles& masks, const Doubles& importance) {
  const int64_t N = masks.shape[0], C = masks.shape[1];
  Doubles y = scores;
  for_each_voxel([&](int64_t from, int64_t weight, int64_t to) {
    for (int64_t n = 0; n < N; ++n) {
      double logit = 0;
      for (int64_t c = 0; c < C; ++c) logit += features[from * C + c] * masks[n * C + c];
      y[to * N + n] += importance[weight] * std::tanh(logit / 2);
    }
  });
  return y;
}

void add_mask_rows(std::vector<OpRow>& rows) {
  for (const auto& [C, N] : {std::pair<int64_t, int64_t>{1, 1}, {3, 17}, {64, 33}, {24, 70}, {300, 4}}) {
    rows.push_back({words("accumulate_mask_scores of ", C, " channels, ", N, " prompts"),
                    {{"scores", {8, 9, 10, N}},
                     {"features", {1, 5, 7, 9, C}},
                     {"masks", {N, C}},
                     {"importance", kImportanceGrid, 0.5, 0.6}},
                    [](const Tensors& i) {
                      Tensor scores = i[0].clone();
                      accumulate_mask_scores(scores, {i[1]}, i[2], i[3], region());
                      return scores;
                    },
                    [](const Arrays& i) { return accumulated(i[0], i[1], i[2], i[3]); },
                    {1e-6, 2e-6}});
  }
  for (const DType dtype : {DType::f32, DType::f16}) {
    for (const auto& [C, N] : {std::pair<int64_t, int64_t>{3, 17}, {64, 70}, {21, 5}}) {
      rows.push_back(
          {words("accumulate_mask_scores of ", C, " channels in ", dtype, " with a pending norm, ", N, " prompts"),
           {{"scores", {8, 9, 10, N}},
            {"features", {1, 5, 7, 9, C}, 1, 0, dtype},
            {"masks", {N, C}},
            {"importance", kImportanceGrid, 0.5, 0.6},
            {"center", {1, C}, 0.4},
            {"factor", {1, C}, 0.5, 1.5},
            {"shift", {1, C}, 0.3}},
           [](const Tensors& i) {
             Tensor scores = i[0].clone();
             accumulate_mask_scores(scores, {i[1], i[4], i[5], i[6], 0.01f}, i[2], i[3], region());
             return scores;
           },
           [](const Arrays& i) {
             const Doubles features = taken(i[1], i[4], i[5], i[6], double(0.01f));
             return accumulated(i[0], features, i[2], i[3]);
           },
           {1e-6, 4e-6}});
      // A device multiplies half-width features by masks of the same type.
      if (dtype == DType::f16) rows.back().on_device = Tolerance{4e-3, 4e-3};
    }
  }
}

}  // namespace

void add_score_rows(std::vector<OpRow>& rows) {
  const size_t first = rows.size();
  add_mask_rows(rows);
  rows.push_back({"accumulate_importance",
                  {{"weights", kScoreGrid}, {"importance", kImportanceGrid, 0.5, 0.6}},
                  [](const Tensors& i) {
                    Tensor weights = i[0].clone();
                    accumulate_importance(weights, i[1], region());
                    return weights;
                  },
                  [](const Arrays& i) {
                    Doubles y = i[0];
                    for_each_voxel([&](int64_t, int64_t from, int64_t to) { y[to] += i[1][from]; });
                    return y;
                  },
                  {1e-7, 1e-7}});
  for (int axis = 0; axis < 3; ++axis) {
    rows.push_back({words("divide_rows along axis ", axis),
                    {{"scores", {8, 9, 10, 17}}, {"weights", kScoreGrid, 0.5, 1}},
                    [axis](const Tensors& i) {
                      Tensor scores = i[0].clone();
                      divide_rows(scores, i[1], axis, 2, 5);
                      return scores;
                    },
                    [axis](const Arrays& i) {
                      Doubles y = i[0];
                      for (int64_t at = 0; at < y.numel(); ++at) {
                        const int64_t voxel = at / 17;
                        const int64_t row = axis == 0 ? voxel / 90 : axis == 1 ? voxel / 10 % 9 : voxel % 10;
                        if (row >= 2 && row < 5) y[at] /= i[1][voxel];
                      }
                      return y;
                    },
                    {2e-7, 0}});
  }
  set_from(rows, first, Gradient::refused);
}

}  // namespace sat::test
