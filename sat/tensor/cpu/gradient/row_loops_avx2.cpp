// The loops of the gradients of GELU, of layer norms and of a softmax over vectors of eight numbers.
#include "sat/tensor/cpu/gradient/row_loops.h"

#include "sat/tensor/cpu/vector/lanes_avx2.h"

namespace sat::cpu::avx2 {

namespace {

using L = Lanes8;
using V = __m256;

/// Phi(x) + x phi(x).
V gelu_slope(V x) {
  const V density = L::mul(L::all(0.39894228f), exp_of<L>(L::mul(L::mul(x, x), L::all(-0.5f))));
  return L::fma(x, density, normal_below<L>(x));
}

/// The row's mean in two parts, since a mean far beyond the deviation takes its digits: x - mean = (x - first) - rest.
struct Mean {
  float first, rest;
};

Mean mean_of(const float* x, int64_t count) {
  __m256d sum[2] = {_mm256_setzero_pd(), _mm256_setzero_pd()};
  int64_t i = 0;
  for (; i + L::kLanes <= count; i += L::kLanes) {
    sum[0] = _mm256_add_pd(sum[0], _mm256_cvtps_pd(_mm_loadu_ps(x + i)));
    sum[1] = _mm256_add_pd(sum[1], _mm256_cvtps_pd(_mm_loadu_ps(x + i + 4)));
  }
  alignas(32) double lanes[4];
  _mm256_store_pd(lanes, _mm256_add_pd(sum[0], sum[1]));
  double total = (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
  for (; i < count; ++i) total += double(x[i]);
  total /= double(count);
  return {float(total), float(total - double(float(total)))};
}

/// Calls body(vector of eight, numbers of them that count, where they begin) along a row.
template <class Body>
[[gnu::always_inline]] inline void for_each_eight(int64_t count, const Body& body) {
  int64_t i = 0;
  for (; i + L::kLanes <= count; i += L::kLanes) body(i, L::kLanes);
  if (i < count) body(i, count - i);
}

V load(const float* from, int64_t count) { return count == L::kLanes ? L::load(from) : L::load_some(from, count, 0); }

void store(float* to, V value, int64_t count) {
  if (count == L::kLanes) return L::store(to, value);
  L::store_some(to, value, count);
}

}  // namespace

void gelu_gradient(float* dx, const float* dy, const float* x, int64_t count) {
  for_each_eight(count, [&](int64_t i, int64_t some) {
    store(dx + i, L::mul(load(dy + i, some), gelu_slope(load(x + i, some))), some);
  });
}

void layer_norm_gradient(float* dx, float* sums, const float* dy, const float* x, const float* gain, int64_t channels,
                         float eps) {
  const Mean mean = mean_of(x, channels);
  const V first = L::all(mean.first), rest = L::all(mean.rest), one = L::all(1);
  const auto off = [&](int64_t i, int64_t some) {  // zero behind the end
    const V value = L::sub(L::sub(load(x + i, some), first), rest);
    return some == L::kLanes ? value : L::first_lanes(value, some, 0);
  };
  V squares = L::all(0);
  for_each_eight(channels, [&](int64_t i, int64_t some) {
    const V value = off(i, some);
    squares = L::fma(value, value, squares);
  });
  const double variance = double(L::sum_of(squares)) / double(channels);
  const V rstd = L::all(float(1 / __builtin_sqrt(variance + double(eps))));
  const auto slope = [&](int64_t i, int64_t some) {
    return L::mul(load(dy + i, some), gain ? load(gain + i, some) : one);
  };
  V sum = L::all(0), product = L::all(0);
  for_each_eight(channels, [&](int64_t i, int64_t some) {
    const V z = L::mul(off(i, some), rstd), g = slope(i, some);
    sum = L::add(sum, g);
    product = L::fma(g, z, product);
    if (!sums) return;
    const V d = load(dy + i, some);
    store(sums + i, L::fma(d, z, load(sums + i, some)), some);
    store(sums + channels + i, L::add(d, load(sums + channels + i, some)), some);
  });
  const V mean_g = L::all(L::sum_of(sum) / float(channels)), mean_gz = L::all(L::sum_of(product) / float(channels));
  for_each_eight(channels, [&](int64_t i, int64_t some) {
    const V z = L::mul(off(i, some), rstd);
    store(dx + i, L::mul(rstd, L::nfma(z, mean_gz, L::sub(slope(i, some), mean_g))), some);
  });
}

void softmax_gradient(float* slopes, const float* weights, int64_t count) {
  V sum = L::all(0);
  for (int64_t i = 0; i < count; i += L::kLanes) sum = L::fma(L::load(weights + i), L::load(slopes + i), sum);
  const V mean = L::all(L::sum_of(sum));
  for (int64_t i = 0; i < count; i += L::kLanes) {
    L::store(slopes + i, L::mul(L::load(weights + i), L::sub(L::load(slopes + i), mean)));
  }
}

}  // namespace sat::cpu::avx2
