// Dense layers and attention on the CPU, plain form.
#include <algorithm>
#include <cmath>
#include <vector>

#include "sat/tensor/cpu/kernels.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kRowsAPiece = 16;

float activated(float x, Activation act) {
  switch (act) {
    case Activation::none: return x;
    case Activation::relu: return std::max(x, 0.f);
    case Activation::gelu: return 0.5f * x * (1.f + std::erf(x * 0.70710678118654752f));
  }
  return x;
}

}  // namespace

void linear(float* y, const float* x, const float* panels, const float* bias, int64_t rows, int64_t in, int64_t out,
            Activation act) {
  if (const Simd* simd = current_simd()) {
    return simd_linear(*simd, y, x, panels, bias, rows, in, out, act);
  }
  parallel_for(rows, kRowsAPiece, [&](int64_t first, int64_t last) {
    for (int64_t panel = 0; panel * 16 < out; ++panel) {
      const float* weight = panels + panel * in * 16;
      const int64_t width = std::min<int64_t>(16, out - panel * 16);
      for (int64_t row = first; row < last; ++row) {
        float sum[16] = {};
        for (int64_t i = 0; i < in; ++i) {
          for (int64_t lane = 0; lane < 16; ++lane) sum[lane] += x[row * in + i] * weight[i * 16 + lane];
        }
        float* to = y + row * out + panel * 16;
        for (int64_t lane = 0; lane < width; ++lane) {
          to[lane] = activated(sum[lane] + (bias ? bias[panel * 16 + lane] : 0.f), act);
        }
      }
    }
  });
}

void attention(float* y, const float* q, const float* k, const float* v, const float* bias, int64_t queries,
               int64_t tokens, int64_t channels, int64_t heads) {
  if (const Simd* simd = current_simd()) {
    return simd_attention(*simd, y, q, k, v, bias, queries, tokens, channels, heads);
  }
  const int64_t width = channels / heads;
  const float scale = 1.f / std::sqrt(float(width));
  parallel_for(queries, kRowsAPiece, [&](int64_t first, int64_t last) {
    std::vector<float> weights(size_t(tokens), 0.f);
    for (int64_t n = first; n < last; ++n) {
      for (int64_t head = 0; head < heads; ++head) {
        const float* query = q + n * channels + head * width;
        float largest = -INFINITY;
        for (int64_t t = 0; t < tokens; ++t) {
          const float* key = k + t * channels + head * width;
          float dot = 0;
          for (int64_t c = 0; c < width; ++c) dot += query[c] * key[c];
          dot = dot * scale + (bias ? bias[(head * queries + n) * tokens + t] : 0.f);
          weights[size_t(t)] = dot;
          largest = std::max(largest, dot);
        }
        float total = 0;
        for (float& weight : weights) {
          weight = std::exp(weight - largest);
          total += weight;
        }
        float* to = y + n * channels + head * width;
        std::fill_n(to, width, 0.f);
        for (int64_t t = 0; t < tokens; ++t) {
          const float weight = weights[size_t(t)] / total;
          const float* value = v + t * channels + head * width;
          for (int64_t c = 0; c < width; ++c) to[c] += weight * value[c];
        }
      }
    }
  });
}

}  // namespace sat::cpu
