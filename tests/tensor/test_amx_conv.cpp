// The AMX convolution engine: its portable twin against the definition, and the processor's tiles, where there are any,
// against the twin.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "sat/tensor/context.h"
#include "sat/tensor/cpu/amx/conv/conv.h"
#include "sat/tensor/cpu/amx/conv/cut.h"
#include "sat/tensor/cpu/amx/conv/piece.h"
#include "sat/tensor/cpu/amx/matrix_piece.h"
#include "sat/tensor/memory/memory.h"
#include "sat/tensor/ops.h"
#include "sat/tensor/parallel.h"
#include "tests/support/amx/emulated_loops.h"
#include "tests/support/amx/tile_emulator.h"
#include "tests/support/golden.h"
#include "tests/support/levels.h"

using namespace sat;
using namespace sat::test;
using cpu::Moments;

namespace {

using Loops = const cpu::AmxConvLoops&;

const cpu::AmxConvLoops& kTwin = cpu::kEmulatedTiles.conv;
const cpu::AmxConvLoops& kProcessor = cpu::kProcessorTiles.conv;

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
    {{2, 15, 31}, 48, 0, 16, 1, true, f32, half}, {{2, 4, 32}, 64, 0, 40, 1, true, half, half},
    {{1, 33, 1}, 96, 0, 48, 1, true, half, f32},  {{31, 1, 1}, 10, 0, 33, 1, true, f32, f32},
    {{1, 33, 7}, 32, 0, 48, 1, false, f32, f32},  {{4, 3, 5}, 64, 96, 24, 1, true, half, half},
    {{2, 5, 7}, 24, 3, 40, 1, true, f32, f32},    {{3, 2, 16}, 1, 7, 64, 1, true, half, f32},
    {{2, 3, 9}, 48, 48, 8, 1, false, half, f32},  {{3, 4, 5}, 11, 0, 32, 1, true, f32, f32},
    {{1, 1, 1}, 64, 0, 8, 2, true, f32, f32},     {{2, 15, 31}, 24, 0, 48, 2, true, half, half},
    {{5, 33, 16}, 3, 0, 64, 2, true, f32, f32},   {{4, 2, 17}, 64, 8, 96, 2, true, half, f32},
    {{3, 17, 2}, 96, 0, 1, 2, false, f32, f32},   {{6, 9, 16}, 20, 21, 24, 1, true, half, half},
    {{2, 3, 4}, 500, 44, 8, 1, true, f32, f32},
};

/// Of stride 1, with more than 10 channels: there are two forms of these.
bool has_two_forms(const Case& c) { return c.stride == 1 && c.in + c.skip > 10; }

/// Which volumes are kept whole.
enum class Keep : uint8_t { by_size, none };

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
    panels = cpu::pack_amx_conv3d(weight, c.stride);
  }

  PendingNorm pending(int i) const {
    if (!c.norm) return {};
    const float* values = norm[i].data<float>();
    const int64_t channels = norm[i].shape[1];
    return {values, values + channels, values + 2 * channels, 0.01f};
  }
};

struct Result {
  Tensor y;                         // [H', W', D', out]
  std::vector<Moments> statistics;  // [groups of planes, out]
};

std::vector<const void*> planes_of(const Tensor& x) {
  std::vector<const void*> planes;
  for (int64_t h = 0; !x.empty() && h < x.shape[0]; ++h) planes.push_back(x.select(h).raw());
  return planes;
}

/// The result's planes from the first cut to the last, a slab from each cut to the next; `held` planes have bytes.
Result convolved(const Problem& p, Loops loops, const std::vector<int64_t>& cuts, int64_t held,
                 Keep keep = Keep::by_size) {
  Result result{zeros({held, p.out_size[1], p.out_size[2], p.c.out}, p.c.to),
                std::vector<Moments>(size_t(divide_up(p.out_size[0], cpu::kSlabPlanes) * p.c.out))};
  const std::vector<const void*> from[2] = {planes_of(p.x[0]), planes_of(p.x[1])};
  std::vector<void*> planes;
  for (int64_t h = 0; h < held; ++h) planes.push_back(result.y.select(h).raw());
  cpu::ConvSlab slab;
  slab.in_size = p.c.size;
  slab.out_size = p.out_size;
  slab.stride = p.c.stride;
  slab.inputs[0] = {from[0].data(), p.c.from, p.c.in, p.pending(0)};
  if (p.c.skip) slab.inputs[1] = {from[1].data(), p.c.from, p.c.skip, p.pending(1)};
  slab.planes = planes.data();
  slab.dtype = p.c.to;
  slab.out = p.c.out;
  slab.statistics = result.statistics.data();
  for (size_t i = 0; i + 1 < cuts.size(); ++i) {
    slab.first = cuts[i];
    slab.last = cuts[i + 1];
    cpu::amx_conv3d(slab, p.panels, loops, keep == Keep::none ? 0 : cpu::kAmxWholeBytes);
  }
  return result;
}

Result convolved(const Problem& p, Loops loops, const std::vector<int64_t>& cuts) {
  return convolved(p, loops, cuts, p.out_size[0]);
}
Result convolved(const Problem& p, Loops loops = kTwin) { return convolved(p, loops, {0, p.out_size[0]}); }
Result in_a_ring(const Problem& p, Loops loops = kTwin) {
  return convolved(p, loops, {0, p.out_size[0]}, p.out_size[0], Keep::none);
}
Result first_plane(const Problem& p, Loops loops) { return convolved(p, loops, {0, 1}, 1); }

bool same(const Result& a, const Result& b) {
  return same_bits(a.y, b.y) &&
         std::memcmp(a.statistics.data(), b.statistics.data(), a.statistics.size() * sizeof(Moments)) == 0;
}

/// Of all planes together.
std::vector<Moments> merged(const Result& result) {
  const auto channels = size_t(result.y.shape[3]);
  std::vector<Moments> all(channels);
  for (size_t i = 0; i < result.statistics.size(); ++i) all[i % channels].merge(result.statistics[i]);
  return all;
}

/// A channel at a time, in two passes of double.
std::vector<Moments> moments_of(const Tensor& y) {
  const int64_t channels = y.shape[3], voxels = y.numel() / channels;
  std::vector<Moments> result(static_cast<size_t>(channels));
  for (int64_t c = 0; c < channels; ++c) {
    Moments& m = result[size_t(c)];
    m.count = double(voxels);
    for (int64_t v = 0; v < voxels; ++v) m.mean += double(y.data<float>()[v * channels + c]) / m.count;
    for (int64_t v = 0; v < voxels; ++v) {
      const double off = double(y.data<float>()[v * channels + c]) - m.mean;
      m.m2 += off * off;
    }
  }
  return result;
}

enum class Operands { exact, rounded };

/// The inputs with their norm taken, side by side: in double, or as the engine does it and rounded to bf16.
std::vector<double> taken(const Problem& p, Operands operands) {
  const int64_t voxels = p.c.size[0] * p.c.size[1] * p.c.size[2], in = p.c.in + p.c.skip;
  std::vector<double> values(size_t(voxels * in));
  for (int i = 0; i < 2; ++i) {
    if (p.x[i].empty()) continue;
    const Tensor x = p.x[i].cast(f32);
    const PendingNorm norm = p.pending(i);
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
    CHECK(off.rms < (c.to == half ? 3e-4 : 3e-7));  // of f32 sums; of storage in f16, 2^-11 of a value
    CHECK(off.largest < (c.to == half ? 2e-3 : 2e-6));
  }
}

/// Those that the engine counted are those of what it stored, in f32.
void check_statistics(const Result& result) {
  const std::vector<Moments> got = merged(result), want = moments_of(result.y);
  for (size_t o = 0; o < want.size(); ++o) {
    CAPTURE(o);
    const double deviation = std::sqrt(want[o].m2 / want[o].count);
    CHECK(got[o].count == want[o].count);
    CHECK(std::abs(got[o].mean - want[o].mean) <= 1e-6 * deviation + 1e-12);
    CHECK(std::abs(got[o].m2 - want[o].m2) <= 2e-6 * want[o].m2 + 1e-12);
  }
}

TEST_CASE("amx convolution: statistics are those of the raw results") {
  for (const Case& c : kCases) {
    if (c.to == half) continue;  // the results before rounding are not to be had
    CAPTURE(c);
    const Problem p(c);
    check_statistics(convolved(p));
    if (has_two_forms(c)) check_statistics(in_a_ring(p));
  }
}

TEST_CASE("amx convolution: a volume kept whole and a ring of its planes give the same results") {
  for (const Case& c : kCases) {
    if (!has_two_forms(c) || c.in + c.skip > 512) continue;  // sums of more are taken in another order
    CAPTURE(c);
    const Problem p(c);
    CHECK(same_bits(in_a_ring(p).y, convolved(p).y));
  }
  const Problem many({{2, 3, 4}, 500, 44, 8, 1, true, f32, f32});
  CHECK(difference(in_a_ring(many).y, defined(many, Operands::rounded)).rms < 3e-7);
}

/// The first two of `in` channels are added up, one of them constant and large.
void check_large_mean(int64_t in) {
  Problem p({{3, 9, 23}, in, 0, 1, 1, false, f32, f32});  // blocks begin between two rows
  float* weight = p.weight.data<float>();
  std::fill(weight, weight + p.weight.numel(), 0.f);
  weight[13] = weight[27 + 13] = 1;  // the middle tap of both channels
  p.panels = cpu::pack_amx_conv3d(p.weight, p.c.stride);
  for (int64_t i = 0; i < p.x[0].numel(); i += in) p.x[0].data<float>()[i] = 0x1p14f;  // exact in bf16
  for (const Result& got : {convolved(p), in_a_ring(p)}) {
    const Moments want = moments_of(got.y)[0];
    CHECK(want.mean > 1e4 * std::sqrt(want.m2 / want.count));
    CHECK(got.statistics[0].mean == doctest::Approx(want.mean).epsilon(1e-12));
    CHECK(got.statistics[0].m2 == doctest::Approx(want.m2).epsilon(1e-5));
  }
}

TEST_CASE("amx convolution: statistics of few channels stand a mean of 30,000 deviations") { check_large_mean(2); }
TEST_CASE("amx convolution: statistics stand a mean of 30,000 deviations") { check_large_mean(12); }

TEST_CASE("amx convolution: slabs give the bits of the whole, in results and statistics") {
  for (const Case& c :
       {Case{{7, 14, 5}, 24, 8, 40, 1, true, half, half}, Case{{13, 17, 6}, 64, 0, 96, 2, true, f32, f32},
        Case{{7, 2, 31}, 3, 0, 8, 1, true, half, f32}}) {
    CAPTURE(c);
    const Problem p(c);
    const Result whole = convolved(p);
    CHECK(same(convolved(p, kTwin, {0, 1, 2, 3, 4, 5, 6, 7}), whole));
    CHECK(same(convolved(p, kTwin, {0, 3, 3, 7}), whole));
    const Result part = convolved(p, kTwin, {2, 5});
    CHECK(same_bits(part.y.slice(2, 5).clone(), whole.y.slice(2, 5).clone()));
    CHECK(mismatch(part.y.slice(0, 2).cast(f32), zeros(part.y.slice(0, 2).shape), {}) == "");  // left alone
    CHECK(mismatch(part.y.slice(5, 7).cast(f32), zeros(part.y.slice(5, 7).shape), {}) == "");
    if (!has_two_forms(c)) continue;
    CHECK(same(convolved(p, kTwin, {0, 1, 4, 7}, 7, Keep::none), in_a_ring(p)));
  }
  const Problem many({{27, 3, 4}, 24, 0, 8, 1, true, half, f32});  // three groups of planes
  CHECK(same(convolved(many, kTwin, {0, 12, 24, 27}), convolved(many)));
}

TEST_CASE("amx convolution: any number of threads gives the same bits") {
  for (const Case& c :
       {Case{{2, 17, 15}, 24, 0, 96, 1, true, half, half}, Case{{3, 16, 7}, 8, 0, 160, 2, true, f32, f32}}) {
    CAPTURE(c);
    const Problem p(c);
    const Result alone = convolved(p), ring_alone = in_a_ring(p);
    for (int threads : {2, 3, 8}) {
      ContextOptions options;
      options.threads = threads;
      Context context(options);
      UseContext use(context);
      CHECK(same(convolved(p), alone));
      CHECK(same(in_a_ring(p), ring_alone));
    }
  }
}

TEST_CASE("amx convolution: an infinite value spreads to its neighbours only") {
  for (const int64_t in : {8, 40}) {
    Problem p({{3, 4, 9}, in, 0, 8, 1, false, f32, f32});
    p.x[0].data<float>()[((1 * 4 + 2) * 9 + 4) * in] = INFINITY;
    for (const Result& got : {convolved(p), in_a_ring(p)}) {
      for (int64_t voxel = 0; voxel < 3 * 4 * 9; ++voxel) {
        const int64_t w = voxel / 9 % 4, d = voxel % 9;
        const bool near = w >= 1 && d >= 3 && d <= 5;
        CHECK(std::isfinite(got.y.data<float>()[voxel * 8]) == !near);
      }
    }
  }
}

/// Results far beyond what f16 holds, with both signs, and one NaN.
Problem huge_problem() {
  Problem p({{2, 3, 20}, 8, 0, 40, 1, false, f32, half});
  for (int64_t i = 0; i < p.x[0].numel(); ++i) p.x[0].data<float>()[i] *= 1e6f;
  p.x[0].data<float>()[0] = NAN;
  return p;
}

TEST_CASE("amx convolution: f16 results are held within what f16 holds, and NaN stays") {
  const Result got = convolved(huge_problem());
  const Tensor y = got.y.cast(f32);
  float largest = 0, lowest = 0;
  for (int64_t i = 0; i < y.numel(); ++i) {
    const int64_t w = i / 40 / 20 % 3, d = i / 40 % 20;
    CHECK(std::isnan(y.data<float>()[i]) == (w <= 1 && d <= 1));
    largest = std::max(largest, y.data<float>()[i]);
    lowest = std::min(lowest, y.data<float>()[i]);
  }
  CHECK(largest == 65504);
  CHECK(lowest == -65504);
}

TEST_CASE("amx convolution: a dry run touches nothing and counts the scratch") {
  const Problem p({{4, 20, 30}, 64, 0, 64, 1, true, half, half});
  ContextOptions options;
  options.dry = true;
  Context context(options);
  UseContext use(context);
  cpu::ConvSlab slab;
  slab.in_size = slab.out_size = p.c.size;
  slab.inputs[0] = {nullptr, half, 64, {}};
  slab.out = 64;
  slab.last = 4;
  for (const int64_t whole_bytes : {int64_t(0), cpu::kAmxWholeBytes}) {
    context.memory()->reset_peak();
    cpu::amx_conv3d(slab, p.panels, kTwin, whole_bytes);
    CHECK(context.memory()->peak_bytes() > 100000);
    CHECK(context.memory()->live_bytes() == 0);
  }
}

TEST_CASE("amx convolution: what does not fit is refused") {
  const Problem p({{2, 3, 4}, 8, 0, 8, 1, false, f32, f32});
  CHECK_THROWS_WITH_AS(cpu::pack_amx_conv3d(zeros({8, 8, 3, 3, 1}), 1), doctest::Contains("[8, 8, 3, 3, 1]"), Error);
  const auto refused = [&](void (*spoil)(cpu::ConvSlab&), const char* message) {
    cpu::ConvSlab slab;
    slab.in_size = slab.out_size = p.c.size;
    slab.inputs[0] = {nullptr, f32, 8, {}};
    slab.out = 8;
    spoil(slab);
    CHECK_THROWS_WITH_AS(cpu::amx_conv3d(slab, p.panels, kTwin), doctest::Contains(message), Error);
  };
  refused([](cpu::ConvSlab& slab) { slab.stride = 3; }, "stride 3");
  refused([](cpu::ConvSlab& slab) { slab.out_size[1] = 2; }, "axis 1 of 3 voxels gives 2");
  refused([](cpu::ConvSlab& slab) { slab.last = 3; }, "planes 0 to 3 of 2");
  refused([](cpu::ConvSlab& slab) { slab.inputs[0].dtype = DType::bf16; }, "values of type bf16");
  refused([](cpu::ConvSlab& slab) { slab.dtype = DType::u8; }, "results of type u8");
  refused([](cpu::ConvSlab& slab) { slab.inputs[0].channels = 12; }, "weights are bf16 [1, 9, 1, 2, 16, 32]");
  refused([](cpu::ConvSlab& slab) { slab.out = 33; }, "needs bf16 [2, 9, 1, 2, 16, 32]");
}

TEST_CASE(
    "amx convolution: rings and chunks of weights fit the L2 cache together, and strips share out among threads") {
  struct Layer {
    std::array<int64_t, 3> size;
    int64_t in, out;
    cpu::AmxForm form;
  };
  constexpr auto kQuads = cpu::AmxForm::quads, kWhole = cpu::AmxForm::whole;
  for (const Layer& layer : {Layer{{288, 288, 96}, 64, 64, kQuads}, Layer{{288, 288, 96}, 128, 64, kQuads},
                             Layer{{72, 72, 24}, 256, 128, kQuads}, Layer{{48, 48, 48}, 128, 128, kQuads},
                             Layer{{36, 36, 12}, 256, 256, kQuads}, Layer{{36, 36, 12}, 512, 256, kWhole},
                             Layer{{18, 18, 6}, 1024, 512, kWhole}, Layer{{9, 9, 3}, 512, 512, kWhole}}) {
    CAPTURE(layer.in);
    const bool whole = cpu::amx_keeps_whole(layer.size, layer.in);
    const cpu::AmxCut cut = cpu::amx_cut({layer.size, layer.size, 1, layer.in, layer.out}, layer.size[0], whole);
    CHECK(cut.form == layer.form);
    CHECK(cut.strips * cut.rows >= layer.size[1]);
    CHECK(cut.groups * cut.blocks * 32 >= layer.out);
    const int64_t weights = 27 * 2 * (whole ? cut.chunk * 32 * 16 : layer.in * cut.blocks * 32);
    CHECK(weights + (whole ? 0 : 2 * cut.ring.values) < 2 << 20);
    CHECK(cut.strips * cut.groups >= 8);
  }
}

TEST_CASE("amx convolution: the code for the processor's tiles gives the twin's bits") {
  // Where there are no tiles, their instructions are emulated one by one, and everything around them is real.
  const TilesHere tiles;
  if (!tiles.run) {
    MESSAGE("could not run: this processor has neither AMX nor the AVX-512 that an emulation of its tiles needs");
    CHECK(best_cpu_level() < CpuLevel::amx);
    return;
  }
  for (const Case& c : kCases) {
    CAPTURE(c);
    const Problem p(c);
    CHECK(same(convolved(p, kProcessor), convolved(p, kTwin)));
    if (has_two_forms(c)) CHECK(same(in_a_ring(p, kProcessor), in_a_ring(p, kTwin)));
  }
  // A plane of a volume so large that results are stored past the caches.
  for (const DType type : {f32, half}) {
    for (const int64_t in : {3, 24}) {
      Problem p({{2, 5, 9}, in, 0, 64, 1, true, half, type});
      p.c.size[0] = p.out_size[0] = 100000;
      CAPTURE(p.c);
      CHECK(same(first_plane(p, kProcessor), first_plane(p, kTwin)));
    }
  }
  CHECK(same_bits(convolved(huge_problem(), kProcessor).y, convolved(huge_problem()).y));
  if (!tiles.emulator) return;
  const int64_t products = TileEmulator::products(), loads = TileEmulator::loads();
  convolved(Problem({{1, 4, 16}, 32, 0, 32, 1, false, f32, f32}), kProcessor);
  CHECK(TileEmulator::products() - products == 2 * 27 * 4);  // two blocks of 4 rows x 16 pixels x 16 outputs
  CHECK(TileEmulator::loads() - loads == 2 * 27 * 3);
}

TEST_CASE("the amx level is offered where there are tiles and refused clearly elsewhere") {
  if (amx_available()) {
    CHECK(best_cpu_level() == CpuLevel::amx);
    CHECK(parse_cpu_level("amx") == CpuLevel::amx);
    return;
  }
  CHECK(best_cpu_level() < CpuLevel::amx);
  CHECK_THROWS_WITH_AS(parse_cpu_level("amx"), doctest::Contains("this processor does not run amx"), Error);
  ContextOptions options;
  options.cpu = CpuLevel::amx;
  CHECK_THROWS_WITH_AS(Context{options}, doctest::Contains("does not run amx"), Error);
  ConvSite site;
  site.variant = "amx-bf16";
  CHECK_THROWS_WITH_AS(pack_conv_block(zeros({16, 16, 3, 3, 3}), site), doctest::Contains("matrix units"), Error);
}
