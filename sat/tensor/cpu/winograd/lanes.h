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

template <class L>
struct Axis2 {  // F(2, 3) at 0, 1, -1
  using V = typename L::V;
  static constexpr int kInputs = 4, kPoints = 4, kOutputs = 2;
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
  static constexpr int kInputs = 6, kPoints = 6, kOutputs = 4;
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
struct AxisStride2 {  // F(4, 2) at +-3/8, +-5/4 of every other value, and the values between as they are
  using V = typename L::V;
  static constexpr int kInputs = 9, kPoints = 9, kOutputs = 4;
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

template <class L, bool Half>
void store_channels(void* plane, int64_t at, int64_t count, typename L::V value) {
  if constexpr (Half) {
    uint16_t* to = static_cast<uint16_t*>(plane) + at;
    if (count >= L::kLanes) return L::store_half(to, value);
    uint16_t some[L::kLanes];
    L::store_half(some, value);
    for (int64_t i = 0; i < count; ++i) to[i] = some[i];
  } else {
    float* to = static_cast<float*>(plane) + at;
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
  int64_t at = (y * source.D + source.first_d + first) * input.channels;
  for (int64_t x = first; x < last; ++x, at += input.channels) {
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

template <class L, class A>
void forward(float* to, int64_t to_stride, const float* from, int64_t from_stride, int64_t count) {
  for (int64_t i = 0; i < count; i += L::kLanes) {
    typename L::V values[A::kInputs], points[A::kPoints];
    for (int k = 0; k < A::kInputs; ++k) values[k] = L::load(from + k * from_stride + i);
    A::forward(values, points);
    for (int p = 0; p < A::kPoints; ++p) L::store(to + p * to_stride + i, points[p]);
  }
}

template <class L, class A>
void inverse(float* to, int64_t to_stride, const float* from, int64_t from_stride, int64_t count) {
  for (int64_t i = 0; i < count; i += L::kLanes) {
    typename L::V points[A::kPoints], values[A::kOutputs];
    for (int p = 0; p < A::kPoints; ++p) points[p] = L::load(from + p * from_stride + i);
    A::inverse(points, values);
    for (int k = 0; k < A::kOutputs; ++k) L::store(to + k * to_stride + i, values[k]);
  }
}

template <class L, class A, bool Half>
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
          store_channels<L, Half>(result.planes[k], at + c, channels - c, values[k]);
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
  (result.half ? store_row<L, A, true> : store_row<L, A, false>)(result, from, point_stride, output_stride, tiles,
                                                                 outputs, row, begin);
}

template <class L>
constexpr WinogradSteps steps_of(const Simd* simd) {
  return {{load<L, Axis2<L>>, load<L, Axis4<L>>, load<L, AxisStride2<L>>},
          {forward<L, Axis2<L>>, forward<L, Axis4<L>>, forward<L, AxisStride2<L>>},
          {inverse<L, Axis2<L>>, inverse<L, Axis4<L>>, inverse<L, AxisStride2<L>>},
          {epilogue<L, Axis2<L>>, epilogue<L, Axis4<L>>, epilogue<L, AxisStride2<L>>},
          simd};
}

}  // namespace
}  // namespace sat::cpu
