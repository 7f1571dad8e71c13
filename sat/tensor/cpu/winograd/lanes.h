// Private: the steps of a Winograd convolution (winograd.h) over the vectors of one CPU level.
// Included by the file of each level, which brings `Lanes`: a vector type of kLanes numbers and its arithmetic.
// Everything here has internal linkage: a level's code must not be merged with another's.
//
// The transforms of F(m, 3) interpolate at 0, +-a, +-b, .. and infinity. Row p of the forward transform holds the
// coefficients of the product of (x - q) over the other finite points q, the last row those over all of them; the
// inverse evaluates at the points. Points in pairs of either sign share their even and odd parts.
#pragma once

#include "sat/tensor/cpu/winograd/winograd.h"
#include "sat/tensor/half.h"

namespace sat::cpu {
namespace {

constexpr int64_t kHeldFloats = 4608;  // of a transform along W, held until that along D: more than half of an L1 cache

template <class L>
struct Axis2 {  // F(2, 3) at 0, 1, -1
  using V = typename L::V;
  static constexpr int kInputs = 4, kShared = 2, kPoints = 4, kOutputs = 2;
  static void forward(const V* x, V* y) {
    y[0] = L::sub(x[2], x[0]);
    y[1] = L::add(x[2], x[1]);
    y[2] = L::sub(x[2], x[1]);
    y[3] = L::sub(x[3], x[1]);
  }
  static void inverse(const V* m, V* y) {
    y[0] = L::add(L::add(m[0], m[1]), m[2]);
    y[1] = L::add(L::sub(m[1], m[2]), m[3]);
  }
};

template <class L>
struct Axis4 {  // F(4, 3) at 0, +-11/16, +-11/8: a third of the error of 0, +-1, +-2, and all powers are exact
  using V = typename L::V;
  static constexpr int kInputs = 6, kShared = 2, kPoints = 6, kOutputs = 4;
  static constexpr float a = 0.6875f, b = 1.375f, A = a * a, B = b * b;
  static void forward(const V* x, V* y) {
    y[0] = L::nfma(A + B, x[2], L::fma(A * B, x[0], x[4]));
    y[5] = L::nfma(A + B, x[3], L::fma(A * B, x[1], x[5]));
    const V even_a = L::nfma(B, x[2], x[4]), odd_a = L::nfma(B, x[1], x[3]);
    const V even_b = L::nfma(A, x[2], x[4]), odd_b = L::nfma(A, x[1], x[3]);
    y[1] = L::fma(a, odd_a, even_a);
    y[2] = L::nfma(a, odd_a, even_a);
    y[3] = L::fma(b, odd_b, even_b);
    y[4] = L::nfma(b, odd_b, even_b);
  }
  static void inverse(const V* m, V* y) {
    const V s = L::add(m[1], m[2]), d = L::sub(m[1], m[2]), t = L::add(m[3], m[4]), e = L::sub(m[3], m[4]);
    y[0] = L::add(L::add(m[0], s), t);
    y[1] = L::fma(b, e, L::scale(a, d));
    y[2] = L::fma(B, t, L::scale(A, s));
    y[3] = L::fma(b * B, e, L::fma(a * A, d, m[5]));
  }
};

template <class L>
struct Axis6 {  // F(6, 3) at 0, +-1/2, +-1, +-2
  using V = typename L::V;
  static constexpr int kInputs = 8, kShared = 2, kPoints = 8, kOutputs = 6;
  static constexpr float a = 0.5f, b = 1.f, c = 2.f, A = a * a, B = b * b, C = c * c;
  static V cubic(float first, float second, V x, V y, V z) { return L::nfma(first, y, L::fma(second, x, z)); }
  static void forward(const V* x, V* y) {
    constexpr float sum = A + B + C, pairs = A * B + A * C + B * C, product = A * B * C;
    y[0] = L::nfma(product, x[0], cubic(sum, pairs, x[2], x[4], x[6]));
    y[7] = L::nfma(product, x[1], cubic(sum, pairs, x[3], x[5], x[7]));
    const V even_a = cubic(B + C, B * C, x[2], x[4], x[6]), odd_a = cubic(B + C, B * C, x[1], x[3], x[5]);
    const V even_b = cubic(A + C, A * C, x[2], x[4], x[6]), odd_b = cubic(A + C, A * C, x[1], x[3], x[5]);
    const V even_c = cubic(A + B, A * B, x[2], x[4], x[6]), odd_c = cubic(A + B, A * B, x[1], x[3], x[5]);
    y[1] = L::fma(a, odd_a, even_a);
    y[2] = L::nfma(a, odd_a, even_a);
    y[3] = L::fma(b, odd_b, even_b);
    y[4] = L::nfma(b, odd_b, even_b);
    y[5] = L::fma(c, odd_c, even_c);
    y[6] = L::nfma(c, odd_c, even_c);
  }
  static V sum_of(float first, float second, float third, V x, V y, V z) {
    return L::fma(third, z, L::fma(second, y, L::scale(first, x)));
  }
  static void inverse(const V* m, V* y) {
    const V s = L::add(m[1], m[2]), d = L::sub(m[1], m[2]), t = L::add(m[3], m[4]), e = L::sub(m[3], m[4]);
    const V u = L::add(m[5], m[6]), f = L::sub(m[5], m[6]);
    y[0] = L::add(L::add(m[0], s), L::add(t, u));
    y[1] = sum_of(a, b, c, d, e, f);
    y[2] = sum_of(A, B, C, s, t, u);
    y[3] = sum_of(a * A, b * B, c * C, d, e, f);
    y[4] = sum_of(A * A, B * B, C * C, s, t, u);
    y[5] = L::add(sum_of(a * A * A, b * B * B, c * C * C, d, e, f), m[7]);
  }
};

template <class L>
struct AxisStride2 {  // F(4, 2) at +-3/8, +-5/4 of every other value, and the values between as they are
  using V = typename L::V;
  static constexpr int kInputs = 9, kShared = 1, kPoints = 9, kOutputs = 4;
  static constexpr float a = 0.375f, b = 1.25f, A = a * a, B = b * b;
  static void forward(const V* x, V* y) {
    const V even_a = L::nfma(B, x[2], x[6]), odd_a = L::sub(x[4], L::scale(B, x[0]));
    const V even_b = L::nfma(A, x[2], x[6]), odd_b = L::sub(x[4], L::scale(A, x[0]));
    y[0] = L::fma(a, odd_a, even_a);
    y[1] = L::nfma(a, odd_a, even_a);
    y[2] = L::fma(b, odd_b, even_b);
    y[3] = L::nfma(b, odd_b, even_b);
    y[4] = L::nfma(A + B, x[4], L::fma(A * B, x[0], x[8]));
    for (int i = 0; i < 4; ++i) y[5 + i] = x[2 * i + 1];
  }
  static void inverse(const V* m, V* y) {
    const V s = L::add(m[0], m[1]), d = L::sub(m[0], m[1]), t = L::add(m[2], m[3]), e = L::sub(m[2], m[3]);
    y[0] = L::add(L::add(s, t), m[5]);
    y[1] = L::fma(b, e, L::fma(a, d, m[6]));
    y[2] = L::fma(B, t, L::fma(A, s, m[7]));
    y[3] = L::fma(b * B, e, L::fma(a * A, d, L::add(m[4], m[8])));
  }
};

template <class L>
struct AxisStride2Back {  // F(4, 2) at +-3/8, +-5/4 for the odd outputs, and the even ones as they are
  using V = typename L::V;
  static constexpr int kInputs = 5, kShared = 1, kPoints = 9, kOutputs = 8;
  static constexpr float a = AxisStride2<L>::a, b = AxisStride2<L>::b, A = a * a, B = b * b;
  static void forward(const V* x, V* y) {
    const V even_a = L::nfma(B, x[1], x[3]), odd_a = L::nfma(B, x[0], x[2]);
    const V even_b = L::nfma(A, x[1], x[3]), odd_b = L::nfma(A, x[0], x[2]);
    y[0] = L::fma(a, odd_a, even_a);
    y[1] = L::nfma(a, odd_a, even_a);
    y[2] = L::fma(b, odd_b, even_b);
    y[3] = L::nfma(b, odd_b, even_b);
    y[4] = L::nfma(A + B, x[2], L::fma(A * B, x[0], x[4]));
    for (int i = 0; i < 4; ++i) y[5 + i] = x[i];
  }
  static void inverse(const V* m, V* y) {
    const V s = L::add(m[0], m[1]), d = L::sub(m[0], m[1]), t = L::add(m[2], m[3]), e = L::sub(m[2], m[3]);
    y[1] = L::add(s, t);
    y[3] = L::fma(b, e, L::scale(a, d));
    y[5] = L::fma(B, t, L::scale(A, s));
    y[7] = L::fma(b * B, e, L::fma(a * A, d, m[4]));
    for (int i = 0; i < 4; ++i) y[2 * i] = m[5 + i];
  }
};

/// kLanes channels, of which only `count` are there; the rest is zero.
template <class L, bool Half>
typename L::V load_channels(const void* plane, int64_t at, int64_t count) {
  if constexpr (Half) {
    const uint16_t* from = static_cast<const uint16_t*>(plane) + at;
    if (count >= L::kLanes) return L::load_half(from);
    uint16_t some[L::kLanes] = {};
    for (int64_t i = 0; i < count; ++i) some[i] = from[i];
    return L::load_half(some);
  } else {
    const float* from = static_cast<const float*>(plane) + at;
    if (count >= L::kLanes) return L::load(from);
    float some[L::kLanes] = {};
    for (int64_t i = 0; i < count; ++i) some[i] = from[i];
    return L::load(some);
  }
}

template <class L, WinogradStore S>
void store_channels(void* plane, int64_t at, int64_t count, typename L::V value) {
  if constexpr (S == WinogradStore::f16) {
    uint16_t* to = static_cast<uint16_t*>(plane) + at;
    if (count >= L::kLanes) return L::store_half(to, value);
    uint16_t some[L::kLanes];
    L::store_half(some, value);
    for (int64_t i = 0; i < count; ++i) to[i] = some[i];
  } else if constexpr (S == WinogradStore::streamed) {
    L::stream(static_cast<float*>(plane) + at, value);
  } else {
    float* to = static_cast<float*>(plane) + at;
    if constexpr (S == WinogradStore::added) value = L::add(load_channels<L, false>(plane, at, count), value);
    if (count >= L::kLanes) return L::store(to, value);
    float some[L::kLanes];
    L::store(some, value);
    for (int64_t i = 0; i < count; ++i) to[i] = some[i];
  }
}

/// The values of one row that lie inside the volume.
template <class L, class A, bool Half, bool Norm, bool AllPlanes>
void load_inside(float* to, int64_t point_stride, int64_t row_channels, const WinogradSource& source, int64_t y,
                 int64_t first, int64_t last) {
  using V = typename L::V;
  const SlabInput& input = *source.input;
  const void* planes[A::kInputs];
  for (int k = 0; k < A::kInputs; ++k) {
    const int64_t h = source.first_h + k;
    planes[k] = h >= 0 && h < source.H ? input.planes[h] : nullptr;
  }
  const PendingNorm& norm = input.norm;
  const V slope = L::all(norm.slope);
  const int64_t padded = (input.channels + kPanel - 1) / kPanel * kPanel;
  const int64_t pitch = input.pitch > 0 ? input.pitch : input.channels;
  int64_t at = (y * source.D + source.first_d + first) * pitch;
  for (int64_t x = first; x < last; ++x, at += pitch) {
    for (int64_t c = 0; c < padded; c += L::kLanes) {
      V center{}, factor{}, shift{};
      if constexpr (Norm) {
        center = L::load(norm.center + c);
        factor = L::load(norm.factor + c);
        shift = L::load(norm.shift + c);
      }
      V values[A::kInputs], points[A::kPoints];
      for (int k = 0; k < A::kInputs; ++k) {
        if constexpr (!AllPlanes) {
          if (!planes[k]) {
            values[k] = L::all(0);
            continue;
          }
        }
        V value = load_channels<L, Half>(planes[k], at + c, input.channels - c);
        if constexpr (Norm) value = L::leaky(L::fma_of(L::sub(value, center), factor, shift), slope);
        values[k] = value;
      }
      A::forward(values, points);
      for (int p = 0; p < A::kPoints; ++p) L::store(to + p * point_stride + x * row_channels + c, points[p]);
    }
  }
}

template <class L, class A, bool Half, bool Norm>
void load_planes(float* to, int64_t point_stride, int64_t row_channels, const WinogradSource& source, int64_t y,
                 int64_t first, int64_t last) {
  const bool all = source.first_h >= 0 && source.first_h + A::kInputs <= source.H;
  (all ? load_inside<L, A, Half, Norm, true> : load_inside<L, A, Half, Norm, false>)(to, point_stride, row_channels,
                                                                                     source, y, first, last);
}

template <class L, class A>
void load(float* to, int64_t point_stride, int64_t row_channels, int64_t offset, const WinogradSource& source,
          int64_t row) {
  to += offset;
  const SlabInput& input = *source.input;
  const int64_t padded = (input.channels + kPanel - 1) / kPanel * kPanel;
  const int64_t y = source.first_w + row, width = source.width;
  int64_t first = source.first_d < 0 ? -source.first_d : 0, last = source.D - source.first_d;
  if (last > width) last = width;
  if (y < 0 || y >= source.W || last < first) first = last = 0;
  for (int p = 0; p < A::kPoints; ++p) {
    for (int64_t x = 0; x < width; ++x) {
      if (x == first) x = last;
      if (x >= width) break;
      float* voxel = to + p * point_stride + x * row_channels;
      for (int64_t c = 0; c < padded; c += L::kLanes) L::store(voxel + c, L::all(0));
    }
  }
  if (first == last) return;
  const bool norm = input.norm.center != nullptr;
  if (input.dtype == DType::f16) {
    (norm ? load_planes<L, A, true, true> : load_planes<L, A, true, false>)(to, point_stride, row_channels, source, y,
                                                                            first, last);
  } else {
    (norm ? load_planes<L, A, false, true> : load_planes<L, A, false, false>)(to, point_stride, row_channels, source, y,
                                                                              first, last);
  }
}

/// The first transform of some tiles waits in the L1 cache for the second.
template <class L, class A>
void forward(float* to, int64_t to_stride, const float* from, int64_t row_stride, int64_t channels, int64_t tiles) {
  using V = typename L::V;
  constexpr int64_t kStep = A::kInputs - A::kShared;
  constexpr int64_t kTiles = kHeldFloats / (A::kPoints * kStep * kPanel), kWidth = kTiles * kStep + A::kShared;
  alignas(64) float held[A::kPoints][kWidth * kPanel];
  for (int64_t first = 0; first < tiles; first += kTiles) {
    const int64_t count = tiles - first < kTiles ? tiles - first : kTiles, width = count * kStep + A::kShared;
    for (int64_t panel = 0; panel < channels; panel += kPanel) {
      const float* row = from + first * kStep * channels + panel;
      for (int64_t x = 0; x < width; ++x, row += channels) {
        for (int64_t c = 0; c < kPanel; c += L::kLanes) {
          V values[A::kInputs], points[A::kPoints];
          for (int k = 0; k < A::kInputs; ++k) values[k] = L::load(row + k * row_stride + c);
          A::forward(values, points);
          for (int p = 0; p < A::kPoints; ++p) L::store(held[p] + x * kPanel + c, points[p]);
        }
      }
      for (int64_t tile = 0; tile < count; ++tile) {
        float* tile_to = to + (first + tile) * channels + panel;
        for (int i = 0; i < A::kPoints; ++i) {
          for (int64_t c = 0; c < kPanel; c += L::kLanes) {
            V values[A::kInputs], points[A::kPoints];
            for (int k = 0; k < A::kInputs; ++k) values[k] = L::load(held[i] + (tile * kStep + k) * kPanel + c);
            A::forward(values, points);
            for (int p = 0; p < A::kPoints; ++p) L::store(tile_to + (i * A::kPoints + p) * to_stride + c, points[p]);
          }
        }
      }
    }
  }
}

template <class L, class A>
void inverse(float* to, int64_t to_stride, const float* from, int64_t from_stride, int64_t count) {
  using V = typename L::V;
  for (int64_t n = 0; n < count; n += L::kLanes) {
    V held[A::kOutputs][A::kPoints];
    for (int i = 0; i < A::kPoints; ++i) {
      V points[A::kPoints], values[A::kOutputs];
      for (int p = 0; p < A::kPoints; ++p) points[p] = L::load(from + (i * A::kPoints + p) * from_stride + n);
      A::inverse(points, values);
      for (int k = 0; k < A::kOutputs; ++k) held[k][i] = values[k];
    }
    for (int d = 0; d < A::kOutputs; ++d) {
      V values[A::kOutputs];
      A::inverse(held[d], values);
      for (int w = 0; w < A::kOutputs; ++w) L::store(to + (w * A::kOutputs + d) * to_stride + n, values[w]);
    }
  }
}

template <class L, class A, WinogradStore S>
void store_row(const WinogradResult& result, const float* from, int64_t point_stride, int64_t output_stride,
               int64_t tiles, int64_t outputs, int64_t row, bool begin) {
  using V = typename L::V;
  const int64_t channels =
      result.channels - result.first_channel < result.block ? result.channels - result.first_channel : result.block;
  const int64_t planes = result.planes_left < A::kOutputs ? result.planes_left : A::kOutputs;
  for (int64_t c = 0; c < result.block; ++c) result.sum[c] = result.square[c] = 0;
  const int64_t line = (result.first_w + row) * result.D;
  for (int64_t tile = 0; tile < tiles; ++tile) {
    for (int64_t x = 0; x < outputs; ++x) {
      const int64_t d = result.first_d + tile * outputs + x;
      if (d >= result.D) break;
      const float* voxel = from + x * output_stride + tile * result.block;
      const int64_t at = (line + d) * result.channels + result.first_channel;
      for (int64_t c = 0; c < channels; c += L::kLanes) {
        V points[A::kPoints], values[A::kOutputs];
        for (int p = 0; p < A::kPoints; ++p) points[p] = L::load(voxel + p * point_stride + c);
        A::inverse(points, values);
        if (begin) L::store(result.base + c, values[0]);
        const V base = L::load(result.base + c);
        V sum = L::load(result.sum + c), square = L::load(result.square + c);
        for (int k = 0; k < A::kOutputs; ++k) {
          if (k >= planes) break;
          store_channels<L, S>(result.planes[k], at + c, channels - c, values[k]);
          const V difference = L::sub(values[k], base);
          sum = L::add(sum, difference);
          square = L::fma_of(difference, difference, square);
        }
        L::store(result.sum + c, sum);
        L::store(result.square + c, square);
      }
      begin = false;
    }
  }
}

template <class L, class A>
void epilogue(const WinogradResult& result, const float* from, int64_t point_stride, int64_t output_stride,
              int64_t tiles, int64_t outputs, int64_t row, bool begin) {
  const auto store = result.store == WinogradStore::f16     ? store_row<L, A, WinogradStore::f16>
                     : result.store == WinogradStore::f32   ? store_row<L, A, WinogradStore::f32>
                     : result.store == WinogradStore::added ? store_row<L, A, WinogradStore::added>
                                                            : store_row<L, A, WinogradStore::streamed>;
  store(result, from, point_stride, output_stride, tiles, outputs, row, begin);
  if (result.store == WinogradStore::streamed) L::fence();
}

/// [count, 16] sums of rows 0, count, 2 * count of x, times g: one axis of the kernel transform.
template <int count>
void combine(double (*sum)[kPanel], const double* g, const double (*x)[kPanel]) {
  for (int64_t r = 0; r < count; ++r) {
    for (int64_t o = 0; o < kPanel; ++o)
      sum[r][o] = g[0] * x[r][o] + g[1] * x[count + r][o] + g[2] * x[2 * count + r][o];
  }
}

template <class L>
void weights(float* to, int64_t plane_stride, int64_t point_stride, const float* from,
             const KernelTransform* transforms) {
  constexpr int64_t kTaps = 27;
  alignas(64) double taps[kTaps][kPanel], along_h[9][kPanel], along_w[3][kPanel], along_d[1][kPanel];
  alignas(64) float points[kMostPoints][kPanel];
  for (int64_t i = 0; i < kTaps * kPanel; ++i) taps[i / kPanel][i % kPanel] = double(from[i]);
  const KernelTransform &H = transforms[0], &W = transforms[1], &D = transforms[2];
  for (int64_t h = 0; h < H.weights; ++h, to += plane_stride) {
    float* line = to;
    combine<9>(along_h, H.rows[h], taps);
    for (int64_t w = 0; w < W.weights; ++w) {
      combine<3>(along_w, W.rows[w], along_h);
      for (int64_t d = 0; d < D.weights; ++d) {
        combine<1>(along_d, D.rows[d], along_w);
        for (int64_t o = 0; o < kPanel; ++o) points[d][o] = float(along_d[0][o]);
      }
      for (int64_t d = 0; d < D.weights; ++d, line += point_stride) {  // their lines are far apart: past the caches
        for (int64_t o = 0; o < kPanel; o += L::kLanes) L::stream(line + o, L::load(points[d] + o));
      }
    }
  }
  L::fence();
}

template <class L>
constexpr WinogradSteps steps_of(const Simd* simd) {
  return {
      {load<L, Axis2<L>>, load<L, Axis4<L>>, load<L, Axis6<L>>, load<L, AxisStride2<L>>, load<L, AxisStride2Back<L>>},
      {forward<L, Axis2<L>>, forward<L, Axis4<L>>, forward<L, Axis6<L>>, forward<L, AxisStride2<L>>,
       forward<L, AxisStride2Back<L>>},
      {inverse<L, Axis2<L>>, inverse<L, Axis4<L>>, inverse<L, Axis6<L>>, inverse<L, AxisStride2<L>>,
       inverse<L, AxisStride2Back<L>>},
      {epilogue<L, Axis2<L>>, epilogue<L, Axis4<L>>, epilogue<L, Axis6<L>>, epilogue<L, AxisStride2<L>>,
       epilogue<L, AxisStride2Back<L>>},
      weights<L>,
      simd};
}

}  // namespace
}  // namespace sat::cpu
