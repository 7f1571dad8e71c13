// Private: the steps of winograd_gradient.h over the vectors of one CPU level.
// Included by the file of each level behind lanes.h, whose loops take the transforms below as they take their own.
#pragma once

#include "sat/tensor/cpu/winograd/lanes.h"
#include "sat/tensor/cpu/winograd/winograd_gradient.h"

namespace sat::cpu {
namespace {

/// Transposes of an axis: `forward` of its inverse, from outputs to points, and `gather` of its kernel transform, from
/// distinct weights to taps; and that transform itself. Its rows follow from the points: row p of the kernel transform
/// is (1, p, p^2) over the product of p's differences from the other finite points.
template <class L>
struct Spread2 {
  using V = typename L::V;
  static constexpr int kInputs = 2, kShared = 0, kPoints = 4, kWeights = 4;
  static void forward(const V* x, V* y) {
    y[0] = x[0];
    y[1] = L::add(x[0], x[1]);
    y[2] = L::sub(x[0], x[1]);
    y[3] = x[1];
  }
  static void gather(const V* m, V* g) {
    const V s = L::scale(0.5f, L::add(m[1], m[2]));
    g[0] = L::sub(s, m[0]);
    g[1] = L::scale(0.5f, L::sub(m[1], m[2]));
    g[2] = L::add(s, m[3]);
  }
  static void kernel(const V* g, V* m) {
    const V even = L::scale(0.5f, L::add(g[0], g[2]));
    m[0] = L::scale(-1, g[0]);
    m[1] = L::fma(0.5f, g[1], even);
    m[2] = L::nfma(0.5f, g[1], even);
    m[3] = g[2];
  }
};

template <class L>
struct Spread4 {
  using V = typename L::V;
  static constexpr int kInputs = 4, kShared = 0, kPoints = 6, kWeights = 6;
  static constexpr double a = Axis4<L>::a, b = Axis4<L>::b, A = a * a, B = b * b;
  static constexpr double at_0 = 1 / (A * B), at_a = 1 / (2 * A * (A - B)), at_b = 1 / (2 * B * (B - A));
  static void forward(const V* x, V* y) {
    const V even_a = L::fma(float(A), x[2], x[0]), odd_a = L::fma(float(A), x[3], x[1]);
    const V even_b = L::fma(float(B), x[2], x[0]), odd_b = L::fma(float(B), x[3], x[1]);
    y[0] = x[0];
    y[1] = L::fma(float(a), odd_a, even_a);
    y[2] = L::nfma(float(a), odd_a, even_a);
    y[3] = L::fma(float(b), odd_b, even_b);
    y[4] = L::nfma(float(b), odd_b, even_b);
    y[5] = x[3];
  }
  static void gather(const V* m, V* g) {
    const V s = L::add(m[1], m[2]), d = L::sub(m[1], m[2]), t = L::add(m[3], m[4]), e = L::sub(m[3], m[4]);
    g[0] = L::fma(float(at_b), t, L::fma(float(at_a), s, L::scale(float(at_0), m[0])));
    g[1] = L::fma(float(b * at_b), e, L::scale(float(a * at_a), d));
    g[2] = L::fma(float(B * at_b), t, L::fma(float(A * at_a), s, m[5]));
  }
  static void kernel(const V* g, V* m) {
    const V even_a = L::fma(float(A * at_a), g[2], L::scale(float(at_a), g[0]));
    const V even_b = L::fma(float(B * at_b), g[2], L::scale(float(at_b), g[0]));
    m[0] = L::scale(float(at_0), g[0]);
    m[1] = L::fma(float(a * at_a), g[1], even_a);
    m[2] = L::nfma(float(a * at_a), g[1], even_a);
    m[3] = L::fma(float(b * at_b), g[1], even_b);
    m[4] = L::nfma(float(b * at_b), g[1], even_b);
    m[5] = g[2];
  }
};

template <class L>
struct Spread6 {
  using V = typename L::V;
  static constexpr int kInputs = 6, kShared = 0, kPoints = 8, kWeights = 8;
  static constexpr double a = Axis6<L>::a, b = Axis6<L>::b, c = Axis6<L>::c, A = a * a, B = b * b, C = c * c;
  static constexpr double at_0 = -1 / (A * B * C), at_a = 1 / (2 * A * (A - B) * (A - C)),
                          at_b = 1 / (2 * B * (B - A) * (B - C)), at_c = 1 / (2 * C * (C - A) * (C - B));
  static V along(double square, V first, V second, V third) {
    return L::fma(float(square), L::fma(float(square), third, second), first);
  }
  static void forward(const V* x, V* y) {
    const V even_a = along(A, x[0], x[2], x[4]), odd_a = along(A, x[1], x[3], x[5]);
    const V even_b = along(B, x[0], x[2], x[4]), odd_b = along(B, x[1], x[3], x[5]);
    const V even_c = along(C, x[0], x[2], x[4]), odd_c = along(C, x[1], x[3], x[5]);
    y[0] = x[0];
    y[1] = L::fma(float(a), odd_a, even_a);
    y[2] = L::nfma(float(a), odd_a, even_a);
    y[3] = L::fma(float(b), odd_b, even_b);
    y[4] = L::nfma(float(b), odd_b, even_b);
    y[5] = L::fma(float(c), odd_c, even_c);
    y[6] = L::nfma(float(c), odd_c, even_c);
    y[7] = x[5];
  }
  static V sum_of(double first, double second, double third, V x, V y, V z, V rest) {
    return L::fma(float(third), z, L::fma(float(second), y, L::fma(float(first), x, rest)));
  }
  static void gather(const V* m, V* g) {
    const V s = L::add(m[1], m[2]), d = L::sub(m[1], m[2]), t = L::add(m[3], m[4]), e = L::sub(m[3], m[4]);
    const V u = L::add(m[5], m[6]), f = L::sub(m[5], m[6]);
    g[0] = sum_of(at_a, at_b, at_c, s, t, u, L::scale(float(at_0), m[0]));
    g[1] = L::fma(float(c * at_c), f, L::fma(float(b * at_b), e, L::scale(float(a * at_a), d)));
    g[2] = sum_of(A * at_a, B * at_b, C * at_c, s, t, u, m[7]);
  }
  static void kernel(const V* g, V* m) {
    const V even_a = L::fma(float(A * at_a), g[2], L::scale(float(at_a), g[0]));
    const V even_b = L::fma(float(B * at_b), g[2], L::scale(float(at_b), g[0]));
    const V even_c = L::fma(float(C * at_c), g[2], L::scale(float(at_c), g[0]));
    m[0] = L::scale(float(at_0), g[0]);
    m[1] = L::fma(float(a * at_a), g[1], even_a);
    m[2] = L::nfma(float(a * at_a), g[1], even_a);
    m[3] = L::fma(float(b * at_b), g[1], even_b);
    m[4] = L::nfma(float(b * at_b), g[1], even_b);
    m[5] = L::fma(float(c * at_c), g[1], even_c);
    m[6] = L::nfma(float(c * at_c), g[1], even_c);
    m[7] = g[2];
  }
};

template <class L>
struct SpreadStride2 {
  using V = typename L::V;
  static constexpr int kInputs = 4, kShared = 0, kPoints = 9, kWeights = 6;
  static constexpr double a = AxisStride2<L>::a, b = AxisStride2<L>::b, A = a * a, B = b * b;
  static constexpr double at_a = 1 / (2 * a * (A - B)), at_b = 1 / (2 * b * (B - A));  // of -p: less than nothing
  static void forward(const V* x, V* y) {
    const V even_a = L::fma(float(A), x[2], x[0]), odd_a = L::fma(float(A), x[3], x[1]);
    const V even_b = L::fma(float(B), x[2], x[0]), odd_b = L::fma(float(B), x[3], x[1]);
    y[0] = L::fma(float(a), odd_a, even_a);
    y[1] = L::nfma(float(a), odd_a, even_a);
    y[2] = L::fma(float(b), odd_b, even_b);
    y[3] = L::nfma(float(b), odd_b, even_b);
    y[4] = x[3];
    for (int i = 0; i < 4; ++i) y[5 + i] = x[i];
  }
  static void gather(const V* m, V* g) {
    const V s = L::add(m[0], m[1]), d = L::sub(m[0], m[1]), t = L::add(m[2], m[3]), e = L::sub(m[2], m[3]);
    g[0] = L::fma(float(at_b), e, L::scale(float(at_a), d));
    g[1] = m[5];
    g[2] = L::fma(float(b * at_b), t, L::fma(float(a * at_a), s, m[4]));
  }
  static void kernel(const V* g, V* m) {
    const V far_a = L::scale(float(a * at_a), g[2]), far_b = L::scale(float(b * at_b), g[2]);
    m[0] = L::fma(float(at_a), g[0], far_a);
    m[1] = L::nfma(float(at_a), g[0], far_a);
    m[2] = L::fma(float(at_b), g[0], far_b);
    m[3] = L::nfma(float(at_b), g[0], far_b);
    m[4] = g[2];
    m[5] = g[1];
  }
};

template <class L, class A>
void gather(float* sums, int64_t stride, int64_t count) {
  using V = typename L::V;
  for (int64_t n = 0; n < count; n += L::kLanes) {
    V held[3][A::kWeights];
    for (int i = 0; i < A::kWeights; ++i) {
      V points[A::kWeights], taps[3];
      for (int j = 0; j < A::kWeights; ++j) points[j] = L::load(sums + (i * A::kWeights + j) * stride + n);
      A::gather(points, taps);
      for (int d = 0; d < 3; ++d) held[d][i] = taps[d];
    }
    for (int d = 0; d < 3; ++d) {
      V taps[3];
      A::gather(held[d], taps);
      for (int w = 0; w < 3; ++w) L::store(sums + (w * 3 + d) * stride + n, taps[w]);
    }
  }
}

template <class L, class A>
void gather_planes(float* to, int64_t to_stride, const float* from, int64_t from_stride, int64_t count) {
  using V = typename L::V;
  for (int64_t n = 0; n < count; n += L::kLanes) {
    V points[A::kWeights], taps[3];
    for (int p = 0; p < A::kWeights; ++p) points[p] = L::load(from + p * from_stride + n);
    A::gather(points, taps);
    for (int h = 0; h < 3; ++h) L::store(to + h * to_stride + n, L::add(L::load(to + h * to_stride + n), taps[h]));
  }
}

template <class L, class A>
void kernel_planes(float* to, const float* taps) {
  using V = typename L::V;
  for (int64_t n = 0; n < 9 * kPanel; n += L::kLanes) {
    V line[3], points[A::kWeights];
    for (int h = 0; h < 3; ++h) line[h] = L::load(taps + h * 9 * kPanel + n);
    A::kernel(line, points);
    for (int p = 0; p < A::kWeights; ++p) L::store(to + p * 9 * kPanel + n, points[p]);
  }
}

template <class L, class A>
void kernel(float* to, int64_t stride, const float* lines) {
  using V = typename L::V;
  for (int64_t n = 0; n < kPanel; n += L::kLanes) {
    V held[A::kWeights][3];
    for (int d = 0; d < 3; ++d) {
      V taps[3], points[A::kWeights];
      for (int w = 0; w < 3; ++w) taps[w] = L::load(lines + (w * 3 + d) * kPanel + n);
      A::kernel(taps, points);
      for (int i = 0; i < A::kWeights; ++i) held[i][d] = points[i];
    }
    for (int i = 0; i < A::kWeights; ++i) {
      V points[A::kWeights];
      A::kernel(held[i], points);
      for (int j = 0; j < A::kWeights; ++j) L::store(to + (i * A::kWeights + j) * stride + n, points[j]);
    }
  }
}

template <class L>
constexpr WinogradGradientSteps gradient_steps_of(OuterProduct outer) {
  return {{load<L, Spread2<L>>, load<L, Spread4<L>>, load<L, Spread6<L>>, load<L, SpreadStride2<L>>},
          {forward<L, Spread2<L>>, forward<L, Spread4<L>>, forward<L, Spread6<L>>, forward<L, SpreadStride2<L>>},
          {gather<L, Spread2<L>>, gather<L, Spread4<L>>, gather<L, Spread6<L>>, gather<L, SpreadStride2<L>>},
          {gather_planes<L, Spread2<L>>, gather_planes<L, Spread4<L>>, gather_planes<L, Spread6<L>>,
           gather_planes<L, SpreadStride2<L>>},
          {kernel_planes<L, Spread2<L>>, kernel_planes<L, Spread4<L>>, kernel_planes<L, Spread6<L>>,
           kernel_planes<L, SpreadStride2<L>>},
          {kernel<L, Spread2<L>>, kernel<L, Spread4<L>>, kernel<L, Spread6<L>>, kernel<L, SpreadStride2<L>>},
          outer};
}

}  // namespace
}  // namespace sat::cpu
