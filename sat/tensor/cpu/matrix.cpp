// Dense layers on the CPU: the plain form, and the vector form, which is a blocked product.
#include "sat/tensor/cpu/matrix.h"

#include <algorithm>
#include <cmath>

#include "sat/tensor/cpu/amx/dense.h"
#include "sat/tensor/cpu/backend.h"
#include "sat/tensor/cpu/dense/dense.h"
#include "sat/tensor/cpu/dense/strassen.h"
#include "sat/tensor/cpu/vector/product.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int kStrassen = 1, kTiles = 2;  // PackedMatrix::variant; 0 is the blocked product
constexpr int64_t kRowsAPiece = 16, kElementsAPiece = 1 << 15;

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
          to[lane] = layer.finished(sum[lane], row, panel * kPanel + lane);
        }
      }
    }
  });
}

void run_vector(const Simd& simd, const Dense& layer) {
  const auto epilogue = [&](const MatrixRows::Group& group, int64_t row, int64_t first, int64_t outputs,
                            const float* sums) { layer.finish(simd, group.first + row, first, outputs, sums); };
  run_product(simd, {layer.panels, layer.rows, 1, layer.out, {layer.in, 0}}, MatrixRows{layer.x, layer.in}, epilogue);
}

void run_blocked(const Dense& layer) {
  if (const Simd* simd = current_simd()) return run_vector(*simd, layer);
  run_plain(layer);
}

/// The layer with a packed weight, by the variant that it was packed for.
void run(Dense layer, const PackedMatrix& weight, const AmxLoops* tiles, int64_t matrices) {
  if (weight.variant == kTiles) {
    SAT_CHECK(tiles, "linear: a weight that was packed for matrix units (AMX), on a level without them");
    return amx_linear(layer, weight.panels, *tiles);
  }
  layer.panels = weight.panels.address<float>();
  if (weight.variant != kStrassen) return run_blocked(layer);
  const Simd* simd = current_simd();
  SAT_CHECK(simd, "linear: a weight that was packed for vector instructions, on the plain level");
  run_strassen(*simd, layer, matrices);
}

/// Matrices that lie one behind another in x [.., rows, in].
int64_t matrices_of(const Shape& x) {
  const int64_t rows = x.rank() > 1 ? x[-2] : 1;
  return rows > 0 && x[-1] > 0 ? x.numel() / (rows * x[-1]) : 0;
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

PackedMatrix CpuBackend::pack_linear(const Tensor& weight, const DenseSite& site) {
  const int64_t out = weight.shape[0], in = weight.shape[1];
  if (amx_loops() && Context::current().precision() == Precision::fast && amx_linear_pays(site.rows))
    return {pack_amx_linear(weight), in, out, kTiles};
  if (current_simd() && strassen_fits(in, out, site.rows)) return {strassen_panels(weight), in, out, kStrassen};
  return {packed_panels(weight), in, out};
}

void CpuBackend::linear(Tensor& y, const Tensor& x, const PackedMatrix& weight, const Tensor& bias, Activation act) {
  const int64_t rows = weight.in > 0 ? x.numel() / weight.in : 0;
  run({y.address<float>(), x.address<float>(), nullptr, bias.address<float>(), rows, weight.in, weight.out, act},
      weight, amx_loops(), matrices_of(x.shape));
}

void CpuBackend::linear_add(Tensor& y, const Tensor& residual, const Tensor& x, const PackedMatrix& weight,
                            const Tensor& bias, const Tensor& scale) {
  const int64_t rows = weight.in > 0 ? x.numel() / weight.in : 0;
  run({y.address<float>(), x.address<float>(), nullptr, bias.address<float>(), rows, weight.in, weight.out,
       Activation::none, residual.address<float>(), scale.address<float>()},
      weight, amx_loops(), matrices_of(x.shape));
}

void CpuBackend::gelu(Tensor& y, const Tensor& x) {
  float* to = y.address<float>();
  const float* from = x.address<float>();
  const Simd* simd = current_simd();
  parallel_for(x.numel(), kElementsAPiece, [&](int64_t first, int64_t last) {
    if (simd) {
      if (to != from) std::copy(from + first, from + last, to + first);
      return simd->gelu(to + first, last - first);
    }
    for (int64_t i = first; i < last; ++i) to[i] = 0.5f * from[i] * (1.f + std::erf(from[i] * 0.70710678118654752f));
  });
}

void CpuBackend::product_transposed(Tensor& y, const Tensor& a, const Tensor& b) {
  const Tensor panels = packed_panels(b);
  const int64_t in = b.shape[1], rows = in > 0 ? a.numel() / in : 0;
  run_blocked({y.address<float>(), a.address<float>(), panels.address<float>(), nullptr, rows, in, b.shape[0],
               Activation::none});
}

}  // namespace sat::cpu
