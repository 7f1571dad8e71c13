// The AMX convolution engine: its portable twin against the definition, and the processor's tiles, where there are any,
// against the twin.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "sat/tensor/amx_conv.h"
#include "sat/tensor/context.h"
#include "tests/support/golden.h"
#include "tests/support/levels.h"

using namespace sat;
using namespace sat::test;
using cpu::AmxForm;
using cpu::Moments;

namespace {

/// One convolution, spelled so that a failure names it.
struct Case {
  std::array<int64_t, 3> size;
  int64_t in, skip, out, stride;
  bool norm;
  DType from, to;
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << "[" << c.size[0] << ", " << c.size[1] << ", " << c.size[2] << "], " << c.in << " + " << c.skip << " -> "
             << c.out << ", stride " << c.stride << (c.norm ? ", norm, " : ", ") << c.from << " to " << c.to;
}

constexpr DType f32 = DType::f32, half = DType::f16;

/// Every size and channel count that a blocking of 16, 32 and 48 finds awkward.
const Case kCases[] = {
    {{1, 1, 1}, 1, 0, 1, 1, false, f32, f32},     {{2, 1, 15}, 3, 0, 8, 1, true, f32, f32},
    {{1, 2, 33}, 8, 0, 24, 1, false, half, half}, {{3, 17, 2}, 24, 0, 3, 1, true, half, f32},
    {{2, 15, 31}, 48, 0, 16, 1, true, f32, half}, {{2, 4, 48}, 64, 0, 64, 1, true, half, half},
    {{1, 33, 1}, 96, 0, 48, 1, true, half, f32},  {{31, 1, 1}, 10, 0, 33, 1, true, f32, f32},
    {{2, 33, 17}, 32, 0, 96, 1, false, f32, f32}, {{4, 3, 5}, 64, 96, 24, 1, true, half, half},
    {{2, 5, 7}, 24, 3, 40, 1, true, f32, f32},    {{3, 2, 16}, 1, 7, 64, 1, true, half, f32},
    {{2, 3, 9}, 48, 48, 8, 1, false, half, f32},  {{3, 4, 5}, 11, 0, 32, 1, true, f32, f32},
    {{1, 1, 1}, 64, 0, 8, 2, true, f32, f32},     {{2, 15, 31}, 24, 0, 48, 2, true, half, half},
    {{5, 33, 16}, 3, 0, 64, 2, true, f32, f32},   {{4, 2, 17}, 64, 8, 96, 2, true, half, f32},
    {{3, 17, 2}, 96, 0, 1, 2, false, f32, f32},
};

/// A convolution's operands, and room for what it gives.
struct Problem {
  Case c;
  std::array<int64_t, 3> out_size;
  Tensor x[2], norm[2], weight, panels;  // norm: [3, channels], center, factor and shift

  explicit Problem(const Case& made) : c(made) {
    for (size_t axis = 0; axis < 3; ++axis) out_size[axis] = (c.size[axis] - 1) / c.stride + 1;
    const int64_t channels[2] = {c.in, c.skip};
    for (int i = 0; i < 2; ++i) {
      if (channels[i] == 0) continue;
      const std::string name = i ? "skip" : "x";
      x[i] = field(name, {c.size[0], c.size[1], c.size[2], channels[i]}, 2, 0.5).cast(c.from);
      norm[i] = field(name + ".norm", {3, channels[i]}, 0.5, 1);
    }
    const int64_t in = c.in + c.skip;
    weight = field("weight", {c.out, in, 3, 3, 3}, 1 / std::sqrt(double(in)));
    panels = cpu::pack_amx_conv3d(weight);
  }

  cpu::PendingNorm pending(int i) const {
    if (!c.norm) return {};
    const float* values = norm[i].data<float>();
    const int64_t channels = norm[i].shape[1];
    return {values, values + channels, values + 2 * channels, 0.01f};
  }
};

struct Result {
  Tensor y;  // [H', W', D', out]
  std::vector<Moments> statistics;
};

std::vector<const void*> planes_of(const Tensor& x) {
  std::vector<const void*> planes;
  for (int64_t h = 0; !x.empty() && h < x.shape[0]; ++h) planes.push_back(x.select(h).raw());
  return planes;
}

/// Planes [first, last) of the result, cut at `cuts`.
Result convolved(const Problem& p, AmxForm form, const std::vector<int64_t>& cuts) {
  const Result result{zeros({p.out_size[0], p.out_size[1], p.out_size[2], p.c.out}, p.c.to),
                      std::vector<Moments>(size_t(p.c.out))};
  const std::vector<const void*> from[2] = {planes_of(p.x[0]), planes_of(p.x[1])}, to = planes_of(result.y);
  std::vector<void*> planes;
  for (const void* plane : to) planes.push_back(const_cast<void*>(plane));
  cpu::ConvSlab slab;
  slab.in_size = p.c.size;
  slab.out_size = p.out_size;
  slab.stride = p.c.stride;
  slab.inputs[0] = {from[0].data(), p.c.from, p.c.in, p.pending(0)};
  if (p.c.skip) slab.inputs[1] = {from[1].data(), p.c.from, p.c.skip, p.pending(1)};
  slab.planes = planes.data();
  slab.dtype = p.c.to;
  slab.out = p.c.out;
  slab.statistics = const_cast<Moments*>(result.statistics.data());
  for (size_t i = 0; i + 1 < cuts.size(); ++i) {
    slab.first = cuts[i];
    slab.last = cuts[i + 1];
    cpu::amx_conv3d(slab, p.panels, form);
  }
  return result;
}

Result convolved(const Problem& p, AmxForm form = AmxForm::twin) { return convolved(p, form, {0, p.out_size[0]}); }

bool same(const Result& a, const Result& b) {
  return same_bits(a.y, b.y) &&
         std::memcmp(a.statistics.data(), b.statistics.data(), a.statistics.size() * sizeof(Moments)) == 0;
}

enum class Operands { exact, rounded };

/// The inputs with their norm taken, side by side: in double, or as the engine does it and rounded to bf16.
std::vector<double> taken(const Problem& p, Operands operands) {
  const int64_t voxels = p.c.size[0] * p.c.size[1] * p.c.size[2], in = p.c.in + p.c.skip;
  std::vector<double> values(size_t(voxels * in));
  for (int i = 0; i < 2; ++i) {
    if (p.x[i].empty()) continue;
    const Tensor x = p.x[i].cast(f32);
    const cpu::PendingNorm norm = p.pending(i);
    const int64_t channels = x.shape[3];
    for (int64_t at = 0; at < x.numel(); ++at) {
      const int64_t c = at % channels;
      const float raw = x.data<float>()[at];
      float rounded = raw;
      double exact = raw;
      if (norm.center) {
        rounded = std::fma(raw - norm.center[c], norm.factor[c], norm.shift[c]);
        if (rounded < 0) rounded *= norm.slope;
        exact = (exact - double(norm.center[c])) * double(norm.factor[c]) + double(norm.shift[c]);
        if (exact < 0) exact *= double(norm.slope);
      }
      values[size_t(at / channels * in + (i ? p.c.in : 0) + c)] =
          operands == Operands::exact ? exact : double(to_float(to_bf16(rounded)));
    }
  }
  return values;
}

/// The definition, summed in double.
std::vector<double> defined(const Problem& p, Operands operands) {
  const std::vector<double> x = taken(p, operands);
  const auto [H, W, D] = p.c.size;
  const auto [OH, OW, OD] = p.out_size;
  const int64_t in = p.c.in + p.c.skip, out = p.c.out;
  std::vector<double> weight(size_t(27 * in * out));  // [tap][in][out]
  for (int64_t i = 0; i < p.weight.numel(); ++i) {
    const float value = p.weight.data<float>()[i];
    weight[size_t((i % 27 * in + i / 27 % in) * out + i / 27 / in)] =
        double(operands == Operands::exact ? value : to_float(to_bf16(value)));
  }
  std::vector<double> y(size_t(OH * OW * OD * out));
  for (int64_t voxel = 0; voxel < OH * OW * OD; ++voxel) {
    for (int64_t tap = 0; tap < 27; ++tap) {
      const int64_t h = voxel / (OW * OD) * p.c.stride + tap / 9 - 1;
      const int64_t w = voxel / OD % OW * p.c.stride + tap / 3 % 3 - 1, d = voxel % OD * p.c.stride + tap % 3 - 1;
      if (h < 0 || w < 0 || d < 0 || h >= H || w >= W || d >= D) continue;
      for (int64_t i = 0; i < in; ++i) {
        const double value = x[size_t(((h * W + w) * D + d) * in + i)];
        const double* row = &weight[size_t((tap * in + i) * out)];
        for (int64_t o = 0; o < out; ++o) y[size_t(voxel * out + o)] += value * row[o];
      }
    }
  }
  return y;
}

/// Root of the mean square of the differences, and the largest, as shares of the deviation of `want`.
struct Difference {
  double rms, largest;
};

Difference difference(const Tensor& got, const std::vector<double>& want) {
  const Tensor y = got.cast(f32);
  double mean = 0, square = 0, error = 0, largest = 0;
  for (const double value : want) mean += value / double(want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    const double off = double(y.data<float>()[i]) - want[i];
    square += (want[i] - mean) * (want[i] - mean);
    error += off * off;
    largest = std::isnan(off) ? INFINITY : std::max(largest, std::abs(off));
  }
  if (want.size() < 8) square = std::max(square, 1.);  // too few for a deviation
  return {std::sqrt(error / square), largest / std::sqrt(square / double(want.size()))};
}

}  // namespace

TEST_CASE("amx convolution: the twin is the definition up to the rounding of operands to bf16") {
  for (const Case& c : kCases) {
    CAPTURE(c);
    const Problem p(c);
    const Result got = convolved(p);
    CHECK(difference(got.y, defined(p, Operands::exact)).rms < 1e-2);
    const Difference off = difference(got.y, defined(p, Operands::rounded));
    MESSAGE(c, ": ", off.rms, " ", off.largest, " ", difference(got.y, defined(p, Operands::exact)).rms);
    CHECK(off.rms < (c.to == half ? 5e-4 : 5e-7));
    CHECK(off.largest < (c.to == half ? 3e-3 : 5e-6));
  }
}
