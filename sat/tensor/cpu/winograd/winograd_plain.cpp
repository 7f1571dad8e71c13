// The Winograd steps in plain C++, one channel at a time: the reference that the vector forms are tested against.
#include <algorithm>
#include <cmath>

#include "sat/tensor/cpu/winograd/lanes.h"
#include "sat/tensor/cpu/winograd/winograd.h"

namespace sat::cpu {

namespace {

struct OneLane {
  using V = float;
  static constexpr int64_t kLanes = 1;
  static V all(float x) { return x; }
  static V load(const float* x) { return *x; }
  static void store(float* y, V x) { *y = x; }
  static void stream(float* y, V x) { *y = x; }
  static void fence() {}
  static V load_half(const uint16_t* x) { return to_float(f16{*x}); }
  static void store_half(uint16_t* y, V x) { *y = to_f16(std::clamp(x, -kLargestF16, kLargestF16)).bits; }
  static V add(V a, V b) { return a + b; }
  static V sub(V a, V b) { return a - b; }
  static V scale(float k, V a) { return k * a; }
  static V fma(float k, V a, V b) { return std::fmaf(k, a, b); }
  static V nfma(float k, V a, V b) { return std::fmaf(-k, a, b); }
  static V fma_of(V a, V b, V c) { return std::fmaf(a, b, c); }
  static V leaky(V a, V slope) { return a < 0 ? slope * a : a; }
};

}  // namespace

const WinogradSteps kWinogradPlain = steps_of<OneLane>(nullptr);

}  // namespace sat::cpu
