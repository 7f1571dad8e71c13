// The voxel-wise ends of a network on AMX tiles, emulated where the processor has none: the convolution of few
// channels, the transposed convolution and mask scores, against definitions of the rounded operands, by threads, and
// the processor's code against its portable twin.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "sat/tensor/cpu/amx/voxels/voxel_piece.h"
#include "sat/tensor/cpu/conv/few_channels.h"
#include "sat/tensor/cpu/conv/up_sampling.h"
#include "sat/tensor/memory/memory.h"
#include "tests/support/amx/tile_emulator.h"
#include "tests/support/golden.h"
#include "tests/support/levels.h"
#include "tests/support/op_rows/op_rows.h"

using namespace sat;
using namespace sat::test;

namespace {

constexpr DType f32 = DType::f32, half = DType::f16;

template <class Compute>
auto on_tiles(Compute compute, int threads = 1, const cpu::AmxLoops* loops = &cpu::kEmulatedTiles) {
  ContextOptions options;
  options.threads = threads;
  options.precision = Precision::fast;
  options.host = cpu::make_backend(0, false, loops);
  Context context(options);
  UseContext use(context);
  return compute(*loops);
}

Doubles rounded(const Tensor& x) { return Doubles(x.cast(DType::bf16).cast(f32)); }

/// The largest difference, as a share of the largest wanted value.
double largest_difference(const Tensor& got, const Doubles& want) {
  const Tensor y = got.cast(f32);
  double largest = 0, most = 1e-30;
  for (int64_t i = 0; i < want.numel(); ++i) {
    const double off = std::abs(double(y.data<float>()[i]) - want[i]);
    largest = std::isnan(off) ? INFINITY : std::max(largest, off);
    most = std::max(most, std::abs(want[i]));
  }
  return largest / most;
}

/// A 3x3x3 convolution of few channels.
struct Few {
  std::array<int64_t, 3> size;
  int64_t batch, in, out;
  DType to;

  Tensor x() const { return field("x", {batch, size[0], size[1], size[2], in}, 2, 0.5); }
  Tensor weight() const { return field("weight", {out, in, 3, 3, 3}, 0.3); }

  struct Result {
    Tensor y;
    std::vector<cpu::Moments> statistics;
    bool operator==(const Result& other) const {
      return same_bits(y, other.y) &&
             std::memcmp(statistics.data(), other.statistics.data(), statistics.size() * sizeof(cpu::Moments)) == 0;
    }
  };
  Result computed(const cpu::AmxLoops& loops) const {
    const Tensor from = x(), panels = cpu::pack_few_channels(weight());
    Result result{Tensor(from.shape.with(4, out), to), std::vector<cpu::Moments>(size_t(batch * out))};
    cpu::few_channels_conv3d(loops, {result.y.raw(), to, result.statistics.data()}, from.data<float>(), panels,
                             {batch, size, size, in, 0, out, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}});
    return result;
  }
};

std::ostream& operator<<(std::ostream& out, const Few& f) {
  return out << f.batch << " x [" << f.size[0] << ", " << f.size[1] << ", " << f.size[2] << "], " << f.in << " -> "
             << f.out << ", " << f.to;
}

const Few kFew[] = {
    {{1, 1, 1}, 1, 1, 16, f32},  {{2, 3, 31}, 1, 1, 64, half},  {{3, 2, 17}, 2, 2, 33, f32},
    {{2, 4, 97}, 1, 3, 65, f32}, {{1, 150, 30}, 1, 1, 16, f32}, {{4, 5, 48}, 1, 3, 64, half},
};

/// A transposed convolution of a volume [H, W, D, in].
struct Up {
  std::array<int64_t, 3> size;
  int64_t in, out;
  bool biased;
  DType to;

  Tensor x() const { return field("x", {1, size[0], size[1], size[2], in}, 1.5, 0.2); }
  Tensor weight() const { return field("up", {in, out, 2, 2, 2}, 1 / std::sqrt(double(in))); }
  Tensor bias() const { return field("bias", {out}, 1); }

  Tensor computed(const cpu::AmxLoops& loops, bool around_cache = false) const {
    const auto [H, W, D] = size;
    Tensor y = zeros({1, 2 * H, 2 * W, 2 * D, out}).cast(to);
    const Tensor from = x(), added = bias();
    const PackedMatrix packed = cpu::pack_up_sampling(weight());
    std::vector<void*> planes;
    for (int64_t h = 0; h < 2 * H; ++h) planes.push_back(static_cast<char*>(y.raw()) + h * y.bytes() / (2 * H));
    cpu::up_sample(
        {W, D, &packed, biased ? added.data<float>() : nullptr, planes.data(), to, around_cache},
        [&](float*, int64_t voxel, int64_t) { return from.data<float>() + voxel * in; }, 0, H, &loops);
    return y;
  }
};

std::ostream& operator<<(std::ostream& out, const Up& u) {
  return out << "[" << u.size[0] << ", " << u.size[1] << ", " << u.size[2] << "], " << u.in << " -> " << u.out
             << (u.biased ? ", bias, " : ", ") << u.to;
}

const Up kUps[] = {
    {{1, 1, 1}, 1, 32, true, f32},  {{2, 3, 5}, 64, 64, true, half}, {{1, 5, 48}, 40, 32, false, half},
    {{3, 9, 8}, 33, 96, true, f32}, {{1, 2, 3}, 420, 32, true, f32},
};

/// Scores of some prompts in part of a window.
struct Scoring {
  int64_t channels, prompts;
  DType from;

  Tensor masks() const { return field("masks", {prompts, channels}, 2 / std::sqrt(double(channels))); }
  /// To scores that are there, or to none.
  Tensor computed() const { return onto(field("scores", {5, 6, 21, prompts}, 0.3), masks()); }
  Tensor added(const Tensor& of) const { return onto(zeros({5, 6, 21, of.shape[0]}), of); }

  Tensor onto(Tensor scores, const Tensor& of) const {
    const Features features{field("x", {1, 4, 7, 20, channels}, 1).cast(from), field("center", {1, channels}, 0.2),
                            field("factor", {1, channels}, 0.5, 1), field("shift", {1, channels}, 0.5), 0.01f};
    accumulate_mask_scores(scores, features, of, field("importance", {4, 7, 20}, 0.5, 0.6),
                           {{1, 1, 0}, {1, 1, 0}, {1, 0, 1}, {3, 5, 19}});
    return scores;
  }
};

const Scoring kScorings[] = {{64, 32, half}, {32, 1, f32}, {70, 45, f32}, {400, 17, half}};

}  // namespace

TEST_CASE("amx voxels: a convolution of few channels is the definition, of operands rounded to bf16") {
  for (const Few& few : kFew) {
    CAPTURE(few);
    const Few::Result got = on_tiles([&](const cpu::AmxLoops& loops) { return few.computed(loops); });
    const Doubles want = convolved(rounded(few.x()), rounded(few.weight()), {1, 1});
    CHECK(largest_difference(got.y, want) < (few.to == half ? 6e-4 : 1e-6));
    const int64_t voxels = want.numel() / (few.batch * few.out);
    for (int64_t i = 0; i < few.batch * few.out; ++i) {
      double mean = 0, m2 = 0;
      const auto at = [&](int64_t v) { return want[(i / few.out * voxels + v) * few.out + i % few.out]; };
      for (int64_t v = 0; v < voxels; ++v) mean += at(v) / double(voxels);
      for (int64_t v = 0; v < voxels; ++v) m2 += (at(v) - mean) * (at(v) - mean);
      const cpu::Moments& moments = got.statistics[size_t(i)];
      CHECK(moments.count == double(voxels));
      CHECK(std::abs(moments.mean - mean) <= 1e-6 * (std::sqrt(m2 / double(voxels)) + std::abs(mean)));
      CHECK(std::abs(moments.m2 - m2) <= 1e-5 * m2 + 1e-12);
    }
  }
}

TEST_CASE("amx voxels: a transposed convolution is the definition, of operands rounded to bf16") {
  for (const Up& up : kUps) {
    CAPTURE(up);
    const Tensor got = on_tiles([&](const cpu::AmxLoops& loops) { return up.computed(loops); });
    const Doubles bias = up.biased ? Doubles(up.bias()) : Doubles(Shape{up.out});
    CHECK(largest_difference(got, up_sampled(rounded(up.x()), rounded(up.weight()), bias)) <
          (up.to == half ? 6e-4 : 2e-6));
  }
}

TEST_CASE("amx voxels: mask scores are within 1e-2 of those in f32") {
  for (const Scoring& scoring : kScorings) {
    const Tensor got = on_tiles([&](const cpu::AmxLoops&) { return scoring.computed(); });
    CHECK(mismatch(got, scoring.computed(), {0, 1e-2}) == "");
  }
}

TEST_CASE("amx voxels: a prompt's scores do not depend on the other prompts") {
  const Scoring scoring{64, 45, half};
  const Tensor masks = scoring.masks();
  const Tensor all = on_tiles([&](const cpu::AmxLoops&) { return scoring.added(masks); });
  for (const int64_t prompt : {int64_t(0), int64_t(40)}) {
    const Tensor alone =
        on_tiles([&](const cpu::AmxLoops&) { return scoring.added(masks.slice(prompt, prompt + 1).clone()); });
    bool same = true;
    for (int64_t v = 0; v < alone.numel(); ++v) same &= alone.data<float>()[v] == all.data<float>()[v * 45 + prompt];
    CHECK(same);
  }
}

TEST_CASE("amx voxels: any number of threads gives the same bits") {
  constexpr int kThreads = 3;
  for (const Few& few : kFew) {
    const auto compute = [&](const cpu::AmxLoops& loops) { return few.computed(loops); };
    CHECK(on_tiles(compute, kThreads) == on_tiles(compute));
  }
  for (const Up& up : kUps) {
    const auto compute = [&](const cpu::AmxLoops& loops) { return up.computed(loops); };
    CHECK(same_bits(on_tiles(compute, kThreads), on_tiles(compute)));
  }
  for (const Scoring& scoring : kScorings) {
    const auto compute = [&](const cpu::AmxLoops&) { return scoring.computed(); };
    CHECK(same_bits(on_tiles(compute, kThreads), on_tiles(compute)));
  }
}

TEST_CASE("amx voxels: the code for the processor's tiles gives the twin's bits") {
  // Where there are no tiles, their instructions are emulated one by one, and everything around them is real.
  const TilesHere tiles;
  if (!tiles.run) {
    MESSAGE("could not run: this processor has neither AMX nor the AVX-512 that an emulation of its tiles needs");
    CHECK(best_cpu_level() < CpuLevel::amx);
    return;
  }
  for (const Few& few : kFew) {
    CAPTURE(few);
    const auto compute = [&](const cpu::AmxLoops& loops) { return few.computed(loops); };
    CHECK(on_tiles(compute, 2, &cpu::kProcessorTiles) == on_tiles(compute));
  }
  for (const Up& up : kUps) {
    CAPTURE(up);
    for (const bool around_cache : {false, true}) {
      const auto compute = [&](const cpu::AmxLoops& loops) { return up.computed(loops, around_cache); };
      CHECK(same_bits(on_tiles(compute, 2, &cpu::kProcessorTiles), on_tiles(compute)));
    }
  }
  for (const Scoring& scoring : kScorings) {
    const auto compute = [&](const cpu::AmxLoops&) { return scoring.computed(); };
    CHECK(same_bits(on_tiles(compute, 2, &cpu::kProcessorTiles), on_tiles(compute)));
  }
  if (tiles.emulator) CHECK(TileEmulator::products() > 1000);
}
