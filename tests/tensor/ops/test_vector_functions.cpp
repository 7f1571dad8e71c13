// GELU and the exponentials of a softmax on vectors: the definition, and the same bits on AVX2 and AVX-512.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "sat/tensor/context.h"
#include "sat/tensor/cpu/vector/simd.h"

using namespace sat;

namespace {

/// Numbers in [-range, range), the same ones every time; the first few of every run are special.
std::vector<float> numbers(size_t count, float range) {
  std::vector<float> x(count);
  uint32_t state = 12345;
  for (float& value : x) value = (float((state = state * 1664525u + 1013904223u) >> 8) * 0x1p-23f - 1) * range;
  const float special[] = {0.f, -0.f, 200.f, -200.f, 1e-30f, -1e-30f};
  for (size_t i = 0; i < count && i / 7 < std::size(special); i += 7) x[i] = special[i / 7];
  return x;
}

bool same(const std::vector<float>& a, const std::vector<float>& b) {
  return std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::vector<const cpu::Simd*> tables() {
  std::vector<const cpu::Simd*> all;
  if (best_cpu_level() >= CpuLevel::avx2) all.push_back(&cpu::kAvx2);
  if (best_cpu_level() >= CpuLevel::avx512) all.push_back(&cpu::kAvx512);
  return all;
}

}  // namespace

TEST_CASE("GELU and exponentials on vectors follow their definitions at every length, and write nothing behind it") {
  for (const cpu::Simd* simd : tables()) {
    for (size_t count = 0; count <= 70; ++count) {
      CAPTURE(count);
      std::vector<float> x = numbers(count + 1, 6), bias = numbers(count, 3);
      x[count] = 42;
      const std::vector<float> from = x;
      simd->gelu(x.data(), int64_t(count));
      bool right = x[count] == 42;
      for (size_t i = 0; i < count; ++i) {
        const double value = double(from[i]), wanted = 0.5 * value * std::erfc(-value / std::sqrt(2.));
        right = right && std::abs(double(x[i]) - wanted) <= 3e-7 * std::max(1., std::abs(value));
      }
      CHECK(right);
      for (const float* added : {static_cast<const float*>(nullptr), static_cast<const float*>(bias.data())}) {
        x = from;
        const float total = simd->exponentials(x.data(), added, 0.125f, int64_t(count));
        double largest = -INFINITY, sum = 0;
        const auto value = [&](size_t i) { return 0.125 * double(from[i]) + (added ? double(added[i]) : 0); };
        for (size_t i = 0; i < count; ++i) largest = std::max(largest, value(i));
        right = x[count] == 42;
        for (size_t i = 0; i < count; ++i) {
          const double wanted = std::exp(value(i) - largest);
          right = right && std::abs(double(x[i]) - wanted) <= 1e-6 * wanted + 1e-37;
          sum += wanted;
        }
        CHECK(right);
        CHECK(double(total) == doctest::Approx(sum).epsilon(1e-5));
      }
    }
  }
}

TEST_CASE("GELU and exponentials have the same bits on AVX2 and AVX-512") {
  const std::vector<const cpu::Simd*> levels = tables();
  if (levels.size() < 2) {
    MESSAGE("could not run: this processor has no AVX-512");
    return;
  }
  for (size_t count : {1, 7, 8, 9, 15, 16, 17, 31, 64, 100, 1370}) {
    CAPTURE(count);
    const std::vector<float> from = numbers(count, 20), bias = numbers(count, 3);
    std::vector<float> a = from, b = from;
    levels[0]->gelu(a.data(), int64_t(count));
    levels[1]->gelu(b.data(), int64_t(count));
    CHECK(same(a, b));
    for (const float* added : {static_cast<const float*>(nullptr), bias.data()}) {
      a = b = from;
      CHECK(levels[0]->exponentials(a.data(), added, 0.7f, int64_t(count)) ==
            levels[1]->exponentials(b.data(), added, 0.7f, int64_t(count)));
      CHECK(same(a, b));
    }
  }
}
