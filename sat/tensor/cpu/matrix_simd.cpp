// Dense layers and attention on the CPU, vector forms: blocked products.
#include <algorithm>
#include <cmath>
#include <vector>

#include "sat/tensor/cpu/kernels.h"
#include "sat/tensor/cpu/vector/product.h"

namespace sat::cpu {

namespace {

constexpr int64_t kScoreFloats = 1 << 18;  // 1 MB a thread: the scores of one head's run of queries

/// Panels [ceil(out / 16), in, 16] of the matrix whose element (o, i) is x[o * out_stride + i * in_stride].
void pack(float* panels, const float* x, int64_t out, int64_t in, int64_t out_stride, int64_t in_stride) {
  for (int64_t panel = 0; panel * kPanel < out; ++panel) {
    for (int64_t i = 0; i < in; ++i) {
      for (int64_t lane = 0; lane < kPanel; ++lane) {
        const int64_t o = panel * kPanel + lane;
        *panels++ = o < out ? x[o * out_stride + i * in_stride] : 0.f;
      }
    }
  }
}

}  // namespace

void simd_linear(const Simd& simd, float* y, const float* x, const float* panels, const float* bias, int64_t rows,
                 int64_t in, int64_t out, Activation act) {
  const auto finish = [&](const MatrixRows::Group& group, int64_t row, int64_t first, int64_t outputs,
                          const float* sums) {
    float* to = y + (group.first + row) * out + first;
    for (int64_t o = 0; o < outputs; ++o) to[o] = bias ? sums[o] + bias[first + o] : sums[o];
    if (act == Activation::relu) {
      for (int64_t o = 0; o < outputs; ++o) to[o] = std::max(to[o], 0.f);
    } else if (act == Activation::gelu) {
      simd.gelu(to, outputs);
    }
  };
  run_product(simd, {panels, rows, 1, out, {in, 0}}, MatrixRows{x, in}, finish);
}

void simd_attention(const Simd& simd, float* y, const float* q, const float* k, const float* v, const float* bias,
                    int64_t queries, int64_t tokens, int64_t channels, int64_t heads) {
  const int64_t width = channels / heads;
  const float scale = 1.f / std::sqrt(float(width));
  const int64_t key_floats = pieces(tokens, kPanel) * kPanel * width;
  const int64_t value_floats = pieces(width, kPanel) * kPanel * tokens;
  const Tensor packed({heads, key_floats + value_floats});
  parallel_for(heads, 1, [&](int64_t head, int64_t) {
    float* keys = packed.data<float>() + head * (key_floats + value_floats);
    pack(keys, k + head * width, tokens, width, channels, 1);
    pack(keys + key_floats, v + head * width, width, tokens, 1, channels);
  });

  const int64_t run = std::clamp(kScoreFloats / tokens, kTileRows, kGroupRows), runs = pieces(queries, run);
  parallel_for(heads * runs, 1, [&](int64_t item, int64_t) {
    const int64_t head = item / runs, first_query = item % runs * run, rows = std::min(run, queries - first_query);
    const float* keys = packed.data<float>() + head * (key_floats + value_floats);
    std::vector<float> scores(size_t(rows * tokens)), totals(size_t(rows), 0.f);
    const auto store_scores = [&](const MatrixRows::Group& group, int64_t row, int64_t first, int64_t outputs,
                                  const float* sums) {
      std::copy_n(sums, outputs, scores.data() + (group.first + row) * tokens + first);
    };
    run_product(simd, {keys, rows, 1, tokens, {width, 0}},
                MatrixRows{q + first_query * channels + head * width, channels}, store_scores);
    for (int64_t row = 0; row < rows; ++row) {
      const float* added = bias ? bias + (head * queries + first_query + row) * tokens : nullptr;
      totals[size_t(row)] = simd.exponentials(scores.data() + row * tokens, added, scale, tokens);
    }
    const auto store_mean = [&](const MatrixRows::Group& group, int64_t row, int64_t first, int64_t outputs,
                                const float* sums) {
      float* to = y + (first_query + group.first + row) * channels + head * width + first;
      const float total = totals[size_t(group.first + row)];
      for (int64_t o = 0; o < outputs; ++o) to[o] = sums[o] / total;
    };
    run_product(simd, {keys + key_floats, rows, 1, width, {tokens, 0}}, MatrixRows{scores.data(), tokens}, store_mean);
  });
}

}  // namespace sat::cpu
