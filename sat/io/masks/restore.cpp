// Streaming inverse of preprocessing: which scan voxels a slab of scores decides, and what it decides.
#include "sat/io/masks/restore.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "sat/tensor/parallel.h"

namespace sat {

namespace {

constexpr int64_t kWordBits = 64;
constexpr int64_t kLinesAtOnce = kWordBits;  // of a plane: their bits fill whole words, so threads share none

/// One slab of scores and where it lies.
struct Slab {
  const float* scores;
  const uint64_t* positive;  // for each voxel of the slab, bit p % 64 of word p / 64: the score of prompt p is > 0
  std::array<int64_t, 3> origin, step;  // step: voxels from one to the next along each axis
  int64_t prompts, words;
};

/// Scan voxels along one row whose position may lie within limits; a voxel more at either end does no harm.
struct Range {
  int64_t first, last;                                               // half-open
  void keep(double offset, double slope, double low, double high) {  // low <= offset + slope * index < high
    constexpr double kStill = 1e-9, kMargin = 1e-3;  // no row is long enough to move kMargin at kStill a voxel
    if (std::fabs(slope) < kStill) {
      if (offset < low - kMargin || offset > high + kMargin) last = first;
      return;
    }
    double from = (low - offset) / slope, to = (high - offset) / slope;
    if (from > to) std::swap(from, to);
    first = int64_t(std::clamp(std::floor(from) - 1, double(first), double(last)));
    last = int64_t(std::clamp(std::ceil(to) + 2, double(first), double(last)));
  }
};

/// The least and the most that slope * index can be for indices below `count`.
std::array<double, 2> reach(double slope, int64_t count) {
  const double most = slope * double(count - 1);
  return {std::min(0.0, most), std::max(0.0, most)};
}

/// The voxels of `resampled` whose neighbourhood this call decides: floor of the clamped position in [low, high).
struct Limits {
  std::array<int64_t, 3> low, high;    // in `resampled`
  std::array<double, 3> from, before;  // the same for positions that are not clamped yet
};

Limits limits_of(const ModelGrid& grid, int axis, int64_t first, int64_t last) {
  Limits limits;
  for (size_t a = 0; a < 3; ++a) {
    const int64_t start = grid.crop[a][0];
    const bool rows = int(a) == axis;
    limits.low[a] = start + (rows && first > 0 ? first : -1);
    limits.high[a] = rows ? start + last : grid.crop[a][1];
    const bool clamped_below = limits.low[a] <= 0, clamped_above = limits.high[a] >= grid.resampled.size[a];
    constexpr double kFar = std::numeric_limits<double>::infinity();
    limits.from[a] = clamped_below ? -kFar : double(limits.low[a]);
    limits.before[a] = clamped_above ? kFar : double(limits.high[a]);
  }
  return limits;
}

/// The model voxels around one position: along each axis the two that enclose it, then their up to eight corners.
class Neighbourhood {
 public:
  Neighbourhood(const ModelGrid& grid, const Limits& limits, const Slab& slab)
      : grid_(grid), limits_(limits), slab_(slab) {}

  /// Moves to a position in `resampled`; false when this call does not decide it.
  bool move_to(const std::array<double, 3>& position) {
    std::array<int64_t, 3> offset;         // of the lower voxel, as voxels in the slab
    std::array<int, 3> first_side, sides;  // of 0 lower, 1 upper: those in the crop and with a weight
    for (size_t a = 0; a < 3; ++a) {
      const double q = std::clamp(position[a], 0.0, double(grid_.resampled.size[a] - 1));
      const int64_t lower = int64_t(q);
      if (lower < limits_.low[a] || lower >= limits_.high[a]) return false;
      fraction_[a] = q - double(lower);
      const int64_t in_crop = lower - grid_.crop[a][0];
      offset[a] = (in_crop - slab_.origin[a]) * slab_.step[a];
      first_side[a] = in_crop < 0;
      sides[a] = in_crop + 1 < grid_.model.size[a] && fraction_[a] > 0 ? 2 : 1;
    }
    count_ = 0, weighed_ = false;
    for (int i = first_side[0]; i < sides[0]; ++i) {
      for (int j = first_side[1]; j < sides[1]; ++j) {
        const int64_t line = offset[0] + i * slab_.step[0] + offset[1] + j * slab_.step[1] + offset[2];
        for (int k = first_side[2]; k < sides[2]; ++k) {
          corner_[count_] = i * 4 + j * 2 + k;
          voxel_[count_++] = line + k;  // axis 2 is contiguous
        }
      }
    }
    return true;
  }

  /// The prompts of one word that are positive at any corner; the others cannot have a positive mean.
  uint64_t candidates(int64_t word) const {
    uint64_t any = 0;
    for (size_t i = 0; i < count_; ++i) any |= slab_.positive[voxel_[i] * slab_.words + word];
    return any;
  }

  float score(int64_t prompt) {
    if (!weighed_) weigh();
    float sum = -outside_;
    for (size_t i = 0; i < count_; ++i) sum += weight_[i] * slab_.scores[voxel_[i] * slab_.prompts + prompt];
    return sum;
  }

 private:
  void weigh() {
    outside_ = 0;
    size_t next = 0;
    for (int corner = 0; corner < 8; ++corner) {
      double weight = 1;
      for (size_t a = 0; a < 3; ++a) weight *= corner >> (2 - a) & 1 ? fraction_[a] : 1 - fraction_[a];
      if (next < count_ && corner_[next] == corner) {
        weight_[next++] = float(weight);
      } else {
        outside_ += float(weight);
      }
    }
    weighed_ = true;
  }

  const ModelGrid& grid_;
  const Limits& limits_;
  const Slab& slab_;
  std::array<double, 3> fraction_{};
  size_t count_ = 0;  // of corners in the crop with a weight
  std::array<int, 8> corner_{};
  std::array<int64_t, 8> voxel_{};
  bool weighed_ = false;
  std::array<float, 8> weight_{};
  float outside_ = 0;  // weight of the other corners, which count as -1
};

/// Bit i: values[i] > 0, for up to 64 values. `finite` becomes false where one of them is a NaN: a score is in [-1, 1],
/// so nothing else there is not finite.
uint64_t positive_mask(const float* values, int64_t count, bool& finite) {
  uint64_t mask = 0;
  bool numbers = true;
  int64_t i = 0;
#if defined(__SSE2__)
  __m128 strange = _mm_setzero_ps();
  for (; i + 4 <= count; i += 4) {
    const __m128 four = _mm_loadu_ps(values + i);
    mask |= uint64_t(_mm_movemask_ps(_mm_cmpgt_ps(four, _mm_setzero_ps()))) << i;
    strange = _mm_or_ps(strange, _mm_cmpunord_ps(four, four));
  }
  numbers = _mm_movemask_ps(strange) == 0;
#endif
  for (; i < count; ++i) {
    mask |= uint64_t(values[i] > 0) << i;
    numbers = numbers && !std::isnan(values[i]);
  }
  finite = finite && numbers;
  return mask;
}

/// Bits of the prompts whose score is positive, for every voxel of the slab. Throws Error where a score is none: a mask
/// without those voxels would say that an organ is absent.
Tensor positive_bits(const Tensor& scores, int64_t words) {
  const int64_t voxels = scores.shape[0] * scores.shape[1] * scores.shape[2], prompts = scores.shape[3];
  Tensor bits({voxels, words}, DType::i64);
  const float* values = scores.address<float>();
  uint64_t* out = static_cast<uint64_t*>(bits.raw());
  std::atomic<bool> all_finite{true};
  parallel_for(voxels, 4096, [&](int64_t first, int64_t last) {
    bool finite = true;
    for (int64_t v = first; v < last; ++v) {
      for (int64_t word = 0; word < words; ++word) {
        const int64_t begin = word * kWordBits, count = std::min(kWordBits, prompts - begin);
        out[v * words + word] = positive_mask(values + v * prompts + begin, count, finite);
      }
    }
    if (!finite) all_finite = false;
  });
  SAT_CHECK(all_finite, "the network gave scores that are not finite (NaN), so there is no mask: numbers in it grew ",
            "beyond all bounds");
  return bits;
}

void check_fits(const BitMasks& out, const ModelGrid& grid, const Tensor& scores, const std::array<int64_t, 3>& origin,
                int axis, int64_t first, int64_t last, int64_t first_prompt) {
  SAT_CHECK(scores.shape.rank() == 4 && scores.dtype == DType::f32, "restore_rows: scores are ", scores.dtype, " ",
            scores.shape, ", need f32 [rows, rows, rows, prompts]");
  SAT_CHECK(axis >= 0 && axis < 3, "restore_rows: axis is ", axis, ", needs 0, 1 or 2");
  SAT_CHECK(out.size == grid.scan.size, "restore_rows: masks are ", out.size[0], " x ", out.size[1], " x ", out.size[2],
            " voxels, the scan ", grid.scan.size[0], " x ", grid.scan.size[1], " x ", grid.scan.size[2]);
  SAT_CHECK(first_prompt >= 0 && first_prompt + scores.shape[3] <= out.prompts, "restore_rows: prompts ", first_prompt,
            " to ", first_prompt + scores.shape[3], " of ", out.prompts);
  const int64_t rows = grid.model.size[size_t(axis)];
  SAT_CHECK(0 <= first && first < last && last <= rows, "restore_rows: rows ", first, " to ", last, " of ", rows);
  for (int a = 0; a < 3; ++a) {
    const int64_t from = origin[size_t(a)], size = grid.model.size[size_t(a)];
    const int64_t needed_from = a == axis ? first : 0, needed_to = a == axis ? std::min(last + 1, rows) : size;
    SAT_CHECK(from >= 0 && from <= needed_from && from + scores.shape[a] >= needed_to && from + scores.shape[a] <= size,
              "restore_rows: scores hold voxels ", from, " to ", from + scores.shape[a], " along axis ", a, ", need ",
              needed_from, " to ", needed_to, " of ", size);
  }
}

}  // namespace

void restore_rows(BitMasks& out, const ModelGrid& grid, const Tensor& scores, const std::array<int64_t, 3>& origin,
                  int axis, int64_t first, int64_t last, int64_t first_prompt, float* const* probabilities) {
  check_fits(out, grid, scores, origin, axis, first, last, first_prompt);
  const int64_t prompts = scores.shape[3], words = divide_up(prompts, kWordBits);
  const Tensor positive = positive_bits(scores, words);
  const Slab slab{scores.address<float>(),
                  static_cast<const uint64_t*>(positive.raw()),
                  origin,
                  {scores.shape[1] * scores.shape[2], scores.shape[2], 1},
                  prompts,
                  words};
  const Limits limits = limits_of(grid, axis, first, last);
  const auto& m = grid.scan_to_resampled.m;
  const std::array<int64_t, 3>& size = grid.scan.size;
  // A call decides few rows of many: most planes and lines of the scan are passed over whole.
  Range planes{0, size[0]};
  for (size_t a = 0; a < 3; ++a) {
    const std::array<double, 2> by_w = reach(m[a][1], size[1]), by_d = reach(m[a][2], size[2]);
    planes.keep(m[a][3], m[a][0], limits.from[a] - by_w[1] - by_d[1], limits.before[a] - by_w[0] - by_d[0]);
  }
  const int64_t blocks = divide_up(size[1], kLinesAtOnce);  // of a plane
  parallel_for((planes.last - planes.first) * blocks, 1, [&](int64_t begin, int64_t end) {
    Neighbourhood around(grid, limits, slab);
    std::array<double, 3> start, position;
    for (int64_t piece = begin; piece < end; ++piece) {
      const int64_t h = planes.first + piece / blocks, first_line = piece % blocks * kLinesAtOnce;
      Range lines{first_line, std::min(first_line + kLinesAtOnce, size[1])};
      for (size_t a = 0; a < 3; ++a) {
        const std::array<double, 2> by_d = reach(m[a][2], size[2]);
        lines.keep(m[a][0] * double(h) + m[a][3], m[a][1], limits.from[a] - by_d[1], limits.before[a] - by_d[0]);
      }
      for (int64_t w = lines.first; w < lines.last; ++w) {
        Range range{0, size[2]};
        for (size_t a = 0; a < 3; ++a) {
          start[a] = m[a][0] * double(h) + m[a][1] * double(w) + m[a][3];
          range.keep(start[a], m[a][2], limits.from[a], limits.before[a]);
        }
        for (int64_t d = range.first; d < range.last; ++d) {
          for (size_t a = 0; a < 3; ++a) position[a] = start[a] + m[a][2] * double(d);
          if (!around.move_to(position)) continue;
          for (int64_t word = 0; word < words; ++word) {
            for (uint64_t left = around.candidates(word); left != 0; left &= left - 1) {
              const int64_t prompt = word * kWordBits + std::countr_zero(left);
              if (around.score(prompt) > 0) out.set(first_prompt + prompt, h, w, d);
            }
          }
          if (probabilities == nullptr) continue;
          for (int64_t prompt = 0; prompt < prompts; ++prompt) {
            if (probabilities[prompt] == nullptr) continue;
            float& p = probabilities[prompt][(h * size[1] + w) * size[2] + d];
            p = std::clamp(0.5f + 0.5f * around.score(prompt), 0.0f, 1.0f);
          }
        }
      }
    }
  });
}

}  // namespace sat
