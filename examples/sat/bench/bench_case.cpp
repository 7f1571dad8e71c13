// What the registries of `sat bench` share: names, random data, and the two variants that most operations have.
#include "examples/sat/bench/bench_case.h"

#include "sat/tensor/ops.h"
#include "sat/tensor/parallel.h"

namespace sat::cli {

namespace {

constexpr int64_t kRandomGrain = 1 << 16;

std::string joined(const std::vector<int64_t>& sizes, char separator) {
  std::string text;
  for (int64_t size : sizes) text += (text.empty() ? "" : std::string(1, separator)) + std::to_string(size);
  return text;
}

/// A well mixed 64-bit number for each counter (the finaliser of SplitMix64).
uint64_t mixed(uint64_t counter) {
  uint64_t z = counter * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

}  // namespace

std::string case_name(const BenchOperation& operation, const CaseSizes& sizes) {
  std::string name = operation.name;
  if (!sizes.channels.empty()) name += "/" + joined(sizes.channels, '-');
  if (!sizes.size.empty()) name += "/" + joined(sizes.size, 'x');
  return name;
}

std::vector<BenchOperation> bench_operations() {
  std::vector<BenchOperation> all;
  for (const auto& room : {bench_convolutions(), bench_kernels(), bench_gradients(), bench_stages()}) {
    all.insert(all.end(), room.begin(), room.end());
  }
  return all;
}

DType feature_type() { return choose_conv({}, {1, 1}).store; }

BenchVariant simd_variant(const std::string& name, std::function<Runner(const CaseSizes&, const Inputs&)> prepare) {
  BenchVariant variant{name, std::move(prepare)};
  variant.refusal = [name](const CaseSizes&, CpuLevel level) {
    return level == CpuLevel::plain ? name + " needs a CPU level above plain" : std::string();
  };
  return variant;
}

BenchVariant plain_variant(std::function<Runner(const CaseSizes&, const Inputs&)> prepare) {
  BenchVariant variant{"plain", std::move(prepare), CpuLevel::plain};
  variant.only_by_name = true;
  return variant;
}

Tensor random_normal(const Shape& shape, double deviation, uint64_t seed) {
  Tensor x(shape);
  // Four uniform numbers of 16 bits have this standard deviation together.
  const float scale = float(deviation / 37837.2), mean = 2 * 65535.f;
  parallel_for(x.numel(), kRandomGrain, [&](int64_t first, int64_t last) {
    float* to = x.data<float>();
    for (int64_t i = first; i < last; ++i) {
      const uint64_t bits = mixed((seed << 40) + uint64_t(i) + 1);
      const uint32_t sum = uint32_t(bits & 0xFFFF) + uint32_t(bits >> 16 & 0xFFFF) + uint32_t(bits >> 32 & 0xFFFF) +
                           uint32_t(bits >> 48);
      to[i] = (float(sum) - mean) * scale;
    }
  });
  return x;
}

Tensor random_activations(const Shape& shape, uint64_t seed) {
  Tensor x = random_normal(shape, 1, seed);
  parallel_for(x.numel(), kRandomGrain, [&](int64_t first, int64_t last) {
    float* values = x.data<float>();
    for (int64_t i = first; i < last; ++i) values[i] *= values[i] < 0 ? 0.01f : 1.f;
  });
  return x;
}

int64_t product_of(const std::vector<int64_t>& sizes) { return Shape(sizes).numel(); }

Shape volume_shape(const std::vector<int64_t>& size, int64_t channels) {
  return {1, size[0], size[1], size[2], channels};
}

}  // namespace sat::cli
