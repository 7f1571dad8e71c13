// Dense layers on the CPU: the plain form, and the vector form, which is a blocked product.
#include "sat/tensor/cpu/matrix.h"

#include <algorithm>
#include <cmath>

#include "sat/tensor/cpu/backend.h"
#include "sat/tensor/cpu/vector/product.h"
#include "sat/tensor/cpu/vector/vector_avx2.h"
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

/// One dense layer: y [rows, out] = act(x [rows, in] * panels + bias); bias null for none.
struct Dense {
  float* y;
  const float *x, *panels, *bias;
  int64_t rows, in, out;
  Activation act;
};

void run_plain(const Dense& layer) {
  parallel_for(layer.rows, kRowsAPiece, [&](int64_t first, int64_t last) {
    for (int64_t panel = 0; panel * kPanel < layer.out; ++panel) {
      const float* weight = layer.panels + panel * layer.in * kPanel;
      const int64_t width = std::min(kPanel, layer.out - panel * kPanel);
      for (int64_t row = first; row < last; ++row) {
        float sum[kPanel] = {};
        for (int64_t i = 0; i < layer.in; ++i) {
          for (int64_t lane = 0; lane < kPanel; ++lane) {
            sum[lane] += layer.x[row * layer.in + i] * weight[i * kPanel + lane];
          }
        }
        float* to = layer.y + row * layer.out + panel * kPanel;
        for (int64_t lane = 0; lane < width; ++lane) {
          to[lane] = activated(sum[lane] + (layer.bias ? layer.bias[panel * kPanel + lane] : 0.f), layer.act);
        }
      }
    }
  });
}

void run_vector(const Simd& simd, const Dense& layer) {
  const auto epilogue = [&](const MatrixRows::Group& group, int64_t row, int64_t first, int64_t outputs,
                            const float* sums) {
    float* to = layer.y + (group.first + row) * layer.out + first;
    for (int64_t o = 0; o < outputs; ++o) to[o] = layer.bias ? sums[o] + layer.bias[first + o] : sums[o];
    if (layer.act == Activation::relu) {
      for (int64_t o = 0; o < outputs; ++o) to[o] = std::max(to[o], 0.f);
    } else if (layer.act == Activation::gelu) {
      avx2::gelu(to, outputs);
    }
  };
  run_product(simd, {layer.panels, layer.rows, 1, layer.out, {layer.in, 0}}, MatrixRows{layer.x, layer.in}, epilogue);
}

void run(const Dense& layer) {
  if (const Simd* simd = current_simd()) return run_vector(*simd, layer);
  run_plain(layer);
}

}  // namespace

void pack_panels(float* panels, const float* x, int64_t out, int64_t in, int64_t out_stride, int64_t in_stride) {
  for (int64_t panel = 0; panel * kPanel < out; ++panel) {
    for (int64_t i = 0; i < in; ++i) {
      for (int64_t lane = 0; lane < kPanel; ++lane) {
        const int64_t o = panel * kPanel + lane;
        *panels++ = o < out ? x[o * out_stride + i * in_stride] : 0.f;
      }
    }
  }
}

Tensor packed_panels(const Tensor& weight) {
  const int64_t out = weight.shape[0], in = weight.shape[1], count = divide_up(out, kPanel);
  Tensor panels({count, in, kPanel});
  const float* from = weight.address<float>();
  float* to = panels.address<float>();
  parallel_for(count, 1, [&](int64_t panel, int64_t) {
    const int64_t first = panel * kPanel;
    pack_panels(to + first * in, from + first * in, std::min(kPanel, out - first), in, in, 1);
  });
  return panels;
}

PackedMatrix CpuBackend::pack_linear(const Tensor& weight) {
  return {packed_panels(weight), weight.shape[1], weight.shape[0]};
}

void CpuBackend::linear(Tensor& y, const Tensor& x, const PackedMatrix& weight, const Tensor& bias, Activation act) {
  const int64_t rows = weight.in > 0 ? x.numel() / weight.in : 0;
  run({y.address<float>(), x.address<float>(), weight.panels.address<float>(), bias.address<float>(), rows, weight.in,
       weight.out, act});
}

void CpuBackend::product_transposed(Tensor& y, const Tensor& a, const Tensor& b) {
  const Tensor panels = packed_panels(b);
  const int64_t in = b.shape[1], rows = in > 0 ? a.numel() / in : 0;
  run({y.address<float>(), a.address<float>(), panels.address<float>(), nullptr, rows, in, b.shape[0],
       Activation::none});
}

}  // namespace sat::cpu
