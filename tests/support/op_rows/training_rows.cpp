// Rows of what training alone asks for: losses, dropping, rows of length 1, products element by element, transposes.
#include <array>
#include <cmath>
#include <utility>

#include "sat/tensor/ops.h"
#include "tests/support/op_rows/op_rows.h"

namespace sat::test {

namespace {

/// What dropping multiplies element i by, as ops.h says it.
double kept(const Dropout& dropped, int64_t i) {
  uint64_t x = dropped.key + (uint64_t(i) + 1) * 0x9E3779B97F4A7C15;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  x ^= x >> 31;
  return double(x >> 40) / 0x1000000 < double(dropped.rate) ? 0 : 1 / (1 - double(dropped.rate));
}

void add_dropout_rows(std::vector<OpRow>& rows) {
  for (const float rate : {0.1f, 0.75f}) {
    const Dropout dropped{rate, 0x5EED5EED5EED};
    rows.push_back({words("dropout of ", rate),
                    {{"x", {33, 1001}}},
                    [=](const Tensors& i) { return dropout(i[0], dropped); },
                    [=](const Arrays& i) {
                      Doubles y(i[0].shape);
                      for (int64_t at = 0; at < y.numel(); ++at) y[at] = i[0][at] * kept(dropped, at);
                      return y;
                    },
                    {1e-6, 0}});
  }
}

/// Attention whose weights are dropped: segments one behind another, each with its heads.
OpRow dropped_attention_row(const Segments& segments, int64_t heads, int64_t width, const Dropout& dropped,
                            bool biased) {
  const int64_t C = heads * width, R = segments.queries.back(), T = segments.keys.back();
  int64_t all = 0;
  for (size_t s = 0; s + 1 < segments.queries.size(); ++s) {
    all += heads * (segments.queries[s + 1] - segments.queries[s]) * (segments.keys[s + 1] - segments.keys[s]);
  }
  OpRow row{
      words("attention with dropout of ", dropped.rate, ", ", segments.count(), " segments, ", heads, " heads of ",
            width, biased ? ", bias" : ""),
      {{"q", {R, C}, 2}, {"k", {T, C}, 2}, {"v", {T, C}}},
      [=](const Tensors& i) { return attention(i[0], i[1], i[2], heads, segments, biased ? i[3] : Tensor(), dropped); },
      [=](const Arrays& i) {
        Doubles y(i[0].shape);
        int64_t at = 0;  // in a bias of rank 1
        for (size_t s = 0; s + 1 < segments.queries.size(); ++s) {
          const int64_t first = segments.queries[s], N = segments.queries[s + 1] - first;
          const int64_t key = segments.keys[s], keys = segments.keys[s + 1] - key;
          for (int64_t line = 0; line < heads * N; ++line, at += keys) {
            const int64_t from = (first + line % N) * C + line / N * width;
            std::vector<double> weights(size_t(keys), 0.);
            double total = 0;
            for (int64_t t = 0; t < keys; ++t) {
              double dot = biased ? i[3][at + t] : 0;
              for (int64_t c = 0; c < width; ++c) {
                dot += i[0][from + c] * i[1][(key + t) * C + line / N * width + c] / std::sqrt(double(width));
              }
              total += weights[size_t(t)] = std::exp(dot);
            }
            for (int64_t t = 0; t < keys; ++t) {
              const double weight = weights[size_t(t)] / total * kept(dropped, at + t);
              for (int64_t c = 0; c < width; ++c) y[from + c] += weight * i[2][(key + t) * C + line / N * width + c];
            }
          }
        }
        return y;
      },
      {4e-6, 4e-6}};
  if (biased) row.inputs.push_back({"bias", {all}, 3});
  return row;
}

void add_dropped_attention_rows(std::vector<OpRow>& rows) {
  const Segments uneven{{0, 1, 1, 34, 47}, {0, 3, 4, 21, 64}};
  for (const bool biased : {false, true}) {
    rows.push_back(dropped_attention_row(uneven, 3, 8, {0.3f, 11}, biased));
    rows.push_back(dropped_attention_row(equal_segments(2, 5, 37), 2, 5, {0.1f, 77}, biased));
  }
}

void add_pointwise_rows(std::vector<OpRow>& rows) {
  for (const Shape& b : {Shape{101, 77}, Shape{77}}) {
    rows.push_back({words("multiply ", b),
                    {{"a", {101, 77}}, {"b", b}},
                    [](const Tensors& i) { return multiply(i[0], i[1]); },
                    [](const Arrays& i) {
                      Doubles y(i[0].shape);
                      for (int64_t at = 0; at < y.numel(); ++at) y[at] = i[0][at] * i[1][at % i[1].numel()];
                      return y;
                    },
                    {1e-7, 0}});
  }
  for (const Shape& shape : {Shape{1, 1}, Shape{33, 65}, Shape{3, 2, 17, 40}}) {
    rows.push_back({words("transpose ", shape),
                    {{"x", shape}},
                    [](const Tensors& i) { return transpose(i[0]); },
                    [](const Arrays& i) {
                      const int64_t R = i[0].shape[-2], C = i[0].shape[-1];
                      Doubles y(i[0].shape.with(-2, C).with(-1, R));
                      for (int64_t at = 0; at < y.numel(); ++at) {
                        y[at] = i[0][at / (R * C) * R * C + at % R * C + at / R % C];
                      }
                      return y;
                    }});
  }
  rows.push_back({"scale_by_exp",
                  {{"x", {37, 65}}, {"t", {1}, 1, 0.5}},
                  [](const Tensors& i) { return scale_by_exp(i[0], i[1]); },
                  [](const Arrays& i) {
                    Doubles y(i[0].shape);
                    for (int64_t at = 0; at < y.numel(); ++at) y[at] = i[0][at] * std::exp(i[1][0]);
                    return y;
                  },
                  {5e-7, 0}});
}

void add_length_rows(std::vector<OpRow>& rows) {
  const auto defined = [](const Doubles& x) {
    const int64_t C = x.shape[1];
    Doubles y(x.shape);
    for (int64_t row = 0; row < x.shape[0]; ++row) {
      double squares = 0;
      for (int64_t c = 0; c < C; ++c) squares += x[row * C + c] * x[row * C + c];
      for (int64_t c = 0; c < C; ++c) y[row * C + c] = squares > 0 ? x[row * C + c] / std::sqrt(squares) : 0;
    }
    return y;
  };
  for (const int64_t C : {1, 31, 768}) {
    rows.push_back({words("normalize_rows of ", C),
                    {{"x", {17, C}}},
                    [](const Tensors& i) { return normalize_rows(i[0]); },
                    [=](const Arrays& i) { return defined(i[0]); },
                    {1e-6, 1e-7}});
  }
  rows.push_back({"normalize_rows of zeros",
                  {{"x", {3, 5}, 0}},
                  [](const Tensors& i) { return normalize_rows(i[0]); },
                  [=](const Arrays& i) { return defined(i[0]); }});
  rows.back().gradient = Gradient::elsewhere;  // it has none at zero
}

void add_cross_entropy_rows(std::vector<OpRow>& rows) {
  for (const bool excluding : {false, true}) {
    for (const auto& [R, K] : {std::pair<int64_t, int64_t>{1, 1}, {7, 19}, {65, 300}}) {
      if (excluding && K == 1) continue;
      const int64_t classes = K;
      rows.push_back({words("cross_entropy of ", R, " x ", K, excluding ? ", classes excluded" : ""),
                      {{"logits", {R, K}, 6},
                       {"targets", {R, K}, 0.5, 0.5, DType::f32, false, true},
                       {"weights", {R}, 0.5, 0.5, DType::f32, false, true}},
                      [=](const Tensors& i) { return cross_entropy(i[0], i[1], i[2], excluding ? i[3] : Tensor()); },
                      [=](const Arrays& i) {
                        Doubles loss(Shape{1});
                        for (int64_t row = 0; row < i[0].shape[0]; ++row) {
                          const auto out = [&](int64_t at) { return excluding && i[3][at] > 0; };
                          double total = 0;
                          for (int64_t at = row * classes; at < (row + 1) * classes; ++at) {
                            total += out(at) ? 0 : std::exp(i[0][at]);
                          }
                          for (int64_t at = row * classes; at < (row + 1) * classes; ++at) {
                            loss[0] += out(at) ? 0 : i[2][row] * i[1][at] * (std::log(total) - i[0][at]);
                          }
                        }
                        return loss;
                      },
                      {1e-6, 1e-7}});
      rows.back().step = 1e-5;
      if (excluding) rows.back().inputs.push_back({"excluded", {R, K}, 0.7, 0.7, DType::u8});
    }
  }
}

void add_mask_loss_rows(std::vector<OpRow>& rows) {
  struct Case {
    Shape grid;
    int64_t prompts;
  };
  for (const Case& c :
       {Case{{1, 1, 1, 1, 1}, 1}, {{2, 3, 5, 7, 24}, 9}, {{1, 17, 4, 5, 64}, 33}, {{2, 9, 8, 2, 5}, 3}}) {
    const int64_t B = c.grid[0], C = c.grid[4];
    rows.push_back({words("mask_loss of ", c.grid, ", ", c.prompts, " prompts"),
                    {{"features", c.grid},
                     {"masks", {B, c.prompts, C}, 4 / std::sqrt(double(C))},
                     {"bits", c.grid.with(4, (c.prompts + 7) / 8), 127.9, 127.9, DType::u8},
                     {"counted", {B, c.prompts}, 0.5, 0.5, DType::f32, true, true}},
                    [](const Tensors& i) {
                      return mask_loss({i[0]}, i[1], {i[2], i[3]}, 0.75f).total;
                    },
                    [](const Arrays& i) { return mask_loss_defined(i[0], i[1], i[2], i[3], 0.75); },
                    {1e-6, 1e-7}});
  }
}

}  // namespace

Doubles mask_loss_defined(const Doubles& features, const Doubles& masks, const Doubles& bits, const Doubles& counted,
                          double weight) {
  const int64_t B = masks.shape[0], N = masks.shape[1], C = masks.shape[2];
  const int64_t voxels = features.numel() / (B * C), bytes = bits.shape[4];
  Doubles total(Shape{1});
  double count = 1e-14;
  for (int64_t b = 0; b < B * N; ++b) {
    double overlap = 0, squares = 0, wanted = 0, entropy = 0;
    for (int64_t v = 0; v < voxels; ++v) {
      const int64_t voxel = b / N * voxels + v;
      double logit = 0;
      for (int64_t c = 0; c < C; ++c) logit += features[voxel * C + c] * masks[b * C + c];
      const double p = 1 / (1 + std::exp(-logit));
      const double t = int(bits[voxel * bytes + b % N / 8]) >> (b % N % 8) & 1;
      overlap += p * t;
      squares += p * p;
      wanted += t;
      entropy += std::log1p(std::exp(-std::abs(logit))) + std::max(logit, 0.) - t * logit;
    }
    const double dice = 1 - (2 * overlap + 1e-7) / (squares + wanted + 1e-7);
    total[0] += weight * counted[b] * (dice + entropy / double(voxels));
    count += counted[b];
  }
  total[0] /= count;
  return total;
}

void add_training_rows(std::vector<OpRow>& rows) {
  add_dropout_rows(rows);
  add_dropped_attention_rows(rows);
  add_pointwise_rows(rows);
  add_length_rows(rows);
  add_cross_entropy_rows(rows);
  add_mask_loss_rows(rows);
}

}  // namespace sat::test
