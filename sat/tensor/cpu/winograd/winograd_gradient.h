// Private: the transposes of Winograd's sums (winograd.h), by which a weight's gradient is summed: with y = A^T [(G g)
// * (B^T x)] for outputs y of inputs x and taps g, dg = G^T [(B^T x) * (A dy)]. Products of all tiles add up before G^T
// is taken, once.
#pragma once

#include "sat/tensor/cpu/gradient/conv/outer_product.h"
#include "sat/tensor/cpu/winograd/winograd.h"

namespace sat::cpu {

constexpr int kGradientAxisKinds = 4;  // without stride2_back, which is a transpose itself

/// The steps of one CPU level. Values and points as in WinogradSteps.
struct WinogradGradientSteps {
  /// As WinogradSteps::load and forward, of the outputs' gradient: A in place of B^T; a tile reads its own outputs
  /// alone.
  void (*load[kGradientAxisKinds])(float* to, int64_t point_stride, int64_t row_channels, int64_t offset,
                                   const WinogradSource& source, int64_t row);
  void (*spread[kGradientAxisKinds])(float* to, int64_t to_stride, const float* from, int64_t row_stride,
                                     int64_t channels, int64_t tiles);
  /// G^T along W and D, in place: of distinct weights (i, j) at sums[(i * weights + j) * stride + n], tap (w, d) goes
  /// to sums[(w * 3 + d) * stride + n], n < count, a multiple of 16.
  void (*gather[kGradientAxisKinds])(float* sums, int64_t stride, int64_t count);
  /// And along H: to[h * to_stride + n] += of weight p at from[p * from_stride + n].
  void (*gather_planes[kGradientAxisKinds])(float* to, int64_t to_stride, const float* from, int64_t from_stride,
                                            int64_t count);
  /// G, for weights that live for one call: rounded to f32 along each axis. One output's taps [27, 16] along H, to
  /// to[(p * 9 + line) * 16 + i]; and lines [9, 16] along W and D, point (i, j) to to[(i * weights + j) * stride + n].
  void (*kernel_planes[kGradientAxisKinds])(float* to, const float* taps);
  void (*kernel[kGradientAxisKinds])(float* to, int64_t stride, const float* lines);
  OuterProduct outer;
};
extern const WinogradGradientSteps kWinogradGradientAvx2, kWinogradGradientAvx512;

/// The steps of the current context's CPU level, which is not plain.
const WinogradGradientSteps& current_winograd_gradient();

}  // namespace sat::cpu
