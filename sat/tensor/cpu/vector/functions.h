// Private: the exponential, GELU and softmax over the vectors of one CPU level, with the same bits on each.
// Included by the *_avx2.cpp and *_avx512.cpp files alone, which bring `L`: a vector `V` of kLanes numbers and its
// arithmetic (lanes_avx2.h, vector_avx512.cpp). Internal linkage: a level's code must not be merged with another's.
#pragma once

#include <cstdint>

namespace sat::cpu {
namespace {

/// 2^n - 1 + 2^n * p = e^x - 1 for -87 <= x <= 0: x = n * ln 2 + r with |r| <= ln 2 / 2, and p = e^r - 1 by its series
/// to r^7, whose remainder is below 6e-9. Keeping the 1 apart loses no digits near x = 0.
template <class L>
struct Expm1 {
  typename L::V power, p;
};
template <class L>
[[gnu::always_inline]] inline Expm1<L> expm1_parts(typename L::V x) {
  using V = typename L::V;
  x = L::larger(L::all(-87.f), x);  // in this order a NaN stays
  const V n = L::nearest(L::mul(x, L::all(1.44269504f)));
  V r = L::nfma(n, L::all(0.693359375f), x);  // ln 2 in two parts, the first exact times n
  r = L::nfma(n, L::all(-2.12194440e-4f), r);
  V p = L::all(1.f / 5040);
  p = L::fma(p, r, L::all(1.f / 720));
  p = L::fma(p, r, L::all(1.f / 120));
  p = L::fma(p, r, L::all(1.f / 24));
  p = L::fma(p, r, L::all(1.f / 6));
  p = L::fma(p, r, L::all(0.5f));
  p = L::fma(L::mul(p, r), r, r);
  return {L::power_of_two(n), p};
}

/// e^x for x <= 0; 0 below -87.
template <class L>
[[gnu::always_inline]] inline typename L::V exp_of(typename L::V x) {
  const Expm1<L> e = expm1_parts<L>(x);
  return L::zero_below(x, -87.f, L::fma(e.power, e.p, e.power));
}

/// Phi(x). The tail Phi(-|x|) = exp(-x^2 / 2) * t * P(t), t = 1 / (1 + 0.3 |x| / sqrt 2), where P is fitted for the
/// least largest relative error, 2e-8; so the tail keeps its relative accuracy and nothing cancels.
template <class L>
[[gnu::always_inline]] inline typename L::V normal_below(typename L::V x) {
  using V = typename L::V;
  const V one = L::all(1.f);
  const V t = L::div(one, L::fma(L::magnitude(x), L::all(0.3f * 0.70710678f), one));
  constexpr float kFitted[] = {0.242548247f, -0.255613268f, 0.273197578f,  -0.0468156672f,
                               0.10721816f,  0.0742412088f, 0.0853459685f, 0.0845948073f};
  V p = L::all(-0.0647170444f);
  for (const float coefficient : kFitted) p = L::fma(p, t, L::all(coefficient));
  const V tail = L::mul(L::mul(p, t), exp_of<L>(L::mul(L::mul(x, x), L::all(-0.5f))));
  return L::by_sign(x, tail, L::sub(one, tail));
}

/// x * Phi(x).
template <class L>
[[gnu::always_inline]] inline typename L::V gelu_of(typename L::V x) {
  return L::mul(x, normal_below<L>(x));
}

template <class L>
void gelu_row(float* x, int64_t count) {
  int64_t i = 0;
  for (; i + L::kLanes <= count; i += L::kLanes) L::store(x + i, gelu_of<L>(L::load(x + i)));
  if (i < count) L::store_some(x + i, gelu_of<L>(L::load_some(x + i, count - i, 0)), count - i);
}

/// x = exp(scale * x + bias - largest), see Simd. Numbers are added up in eight lanes on every level, in their order.
template <class L>
float exponentials_row(float* x, const float* bias, float scale, int64_t count) {
  using V = typename L::V;
  const float lowest = -__builtin_inff();
  const V factor = L::all(scale);
  const auto whole = [&](int64_t i) { return L::fma(L::load(x + i), factor, bias ? L::load(bias + i) : L::all(0.f)); };
  const auto some = [&](int64_t i) {  // scale * x + bias, and `lowest` behind the end
    const V added = bias ? L::load_some(bias + i, count - i, lowest) : L::first_lanes(L::all(0.f), count - i, lowest);
    return L::fma(L::load_some(x + i, count - i, 0), factor, added);
  };
  V largest = L::all(lowest);
  int64_t i = 0;
  for (; i + L::kLanes <= count; i += L::kLanes) largest = L::larger(largest, whole(i));
  if (i < count) largest = L::larger(largest, some(i));
  const V top = L::all(L::largest_of(largest));
  typename L::Eight sum = L::no_sum();
  for (i = 0; i + L::kLanes <= count; i += L::kLanes) {
    const V value = exp_of<L>(L::sub(whole(i), top));
    L::store(x + i, value);
    sum = L::add_up(sum, value);
  }
  if (i < count) {
    const V value = exp_of<L>(L::sub(some(i), top));
    L::store_some(x + i, value, count - i);
    sum = L::add_up(sum, value);
  }
  return L::sum_of(sum);
}

}  // namespace
}  // namespace sat::cpu
