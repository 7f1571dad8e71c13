// Streaming inverse of preprocessing: which scan voxels a slab of scores decides, and what it decides.
#include "sat/io/masks/restore.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include <emmintrin.h>

#include "sat/io/masks/bit_blocks.h"
#include "sat/tensor/parallel.h"

namespace sat {

namespace {

using Point = std::array<double, 3>;

constexpr int64_t kWordBits = 64;
constexpr int64_t kLinesAtOnce = kWordBits;  // of a plane: their bits fill whole words, so threads share none
constexpr int64_t kTogether = 16;            // prompts whose means are taken together: a cache line of scores
constexpr float kTiny = 0x1p-100f;           // an eighth of a score above this is still a number above 0

/// One slab of scores and where it lies.
struct Slab {
  const float* scores;
  const uint64_t* positive;  // for each voxel of the slab, bit p % 64 of word p / 64: the score of prompt p is > 0
  std::array<int64_t, 3> origin, step;  // step: voxels from one to the next along each axis
  int64_t prompts, words;
  bool tiny;  // some score is positive, and so near to 0 that a share of it may vanish
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

/// Where up to 64 scan voxels of one row lie in `resampled`: the lower of the two voxels that enclose each along every
/// axis, and how far on it lies between them.
struct Positions {
  std::array<std::array<int32_t, kWordBits>, 3> lower;
  std::array<std::array<double, kWordBits>, 3> fraction;

  /// Voxels first .. first + count of a row that starts at `start` and goes on by `step`.
  void fill(const Point& start, const Point& step, int64_t first, int64_t count, const std::array<int64_t, 3>& size) {
    for (size_t a = 0; a < 3; ++a) {
      const double from = start[a], by = step[a], most = double(size[a] - 1);
      int32_t* to = lower[a].data();
      double* rest = fraction[a].data();
      for (int32_t i = 0; i < int32_t(count); ++i) {
        double q = from + by * double(int32_t(first) + i);
        q = q > 0 ? q : 0;
        q = q < most ? q : most;
        to[i] = int32_t(q);
        rest[i] = q - double(to[i]);
      }
    }
  }
};

/// The model voxels around one position: along each axis the two that enclose it, then their up to eight corners.
class Neighbourhood {
 public:
  Neighbourhood(const ModelGrid& grid, const Limits& limits, const Slab& slab)
      : grid_(grid), limits_(limits), slab_(slab), any_(size_t(slab.words)), all_(size_t(slab.words)) {}

  /// Moves to position `i`; false when this call does not decide it.
  bool move_to(const Positions& positions, size_t i) {
    Cell cell;
    for (size_t a = 0; a < 3; ++a) {
      fraction_[a] = positions.fraction[a][i];
      cell.lower[a] = positions.lower[a][i];
      cell.between[a] = fraction_[a] > 0;
    }
    weighed_ = false;
    if (cell != cell_) enter(cell);
    return count_ > 0;
  }

  /// The prompts of one word whose mean is positive.
  uint64_t positive(int64_t word) {
    const uint64_t all = all_[size_t(word)], undecided = any_[size_t(word)] & ~all;
    return undecided == 0 ? all : all | (undecided & positive_means(word, undecided));
  }

  float score(int64_t prompt) {
    weigh();
    float sum = -outside_;
    for (size_t i = 0; i < count_; ++i) sum += weight_[i][0] * slab_.scores[voxel_[i] * slab_.prompts + prompt];
    return sum;
  }

 private:
  /// All positions between the same model voxels.
  struct Cell {
    std::array<int64_t, 3> lower{-1, -1, -1};
    std::array<bool, 3> between{};  // false: on the lower voxel
    bool operator==(const Cell&) const = default;
  };

  void enter(const Cell& cell) {
    cell_ = cell;
    count_ = 0;
    std::array<int64_t, 3> offset;         // of the lower voxel, as voxels in the slab
    std::array<int, 3> first_side, sides;  // of 0 lower, 1 upper: those in the crop and with a weight
    int weighty = 1;                       // corners with a weight
    for (size_t a = 0; a < 3; ++a) {
      if (cell.lower[a] < limits_.low[a] || cell.lower[a] >= limits_.high[a]) return;
      const int64_t in_crop = cell.lower[a] - grid_.crop[a][0];
      offset[a] = (in_crop - slab_.origin[a]) * slab_.step[a];
      first_side[a] = in_crop < 0;
      sides[a] = in_crop + 1 < grid_.model.size[a] && cell.between[a] ? 2 : 1;
      weighty *= cell.between[a] ? 2 : 1;
    }
    for (int i = first_side[0]; i < sides[0]; ++i) {
      for (int j = first_side[1]; j < sides[1]; ++j) {
        const int64_t line = offset[0] + i * slab_.step[0] + offset[1] + j * slab_.step[1] + offset[2];
        for (int k = first_side[2]; k < sides[2]; ++k) {
          corner_[count_] = size_t(i * 4 + j * 2 + k);
          voxel_[count_++] = line + k;  // axis 2 is contiguous
        }
      }
    }
    // A mean of positive scores is positive, if none is so small that its share vanishes; what lies outside counts as
    // -1.
    const bool sure = int(count_) == weighty && !slab_.tiny;
    for (int64_t word = 0; word < slab_.words; ++word) {
      uint64_t any = 0, all = sure ? ~uint64_t(0) : 0;
      for (size_t i = 0; i < count_; ++i) {
        const uint64_t positive = slab_.positive[voxel_[i] * slab_.words + word];
        any |= positive, all &= positive;
      }
      any_[size_t(word)] = any, all_[size_t(word)] = all;
    }
  }

  /// Of the prompts of one word at least those asked for, each decided by its mean; 16 prompts at a time.
  uint64_t positive_means(int64_t word, uint64_t asked) {
    weigh();
    uint64_t positive = 0;
    for (int64_t bit = std::countr_zero(asked) & -kTogether; bit < kWordBits; bit += kTogether) {
      if ((asked >> bit & 0xFFFF) == 0) continue;
      const int64_t prompt = word * kWordBits + bit;
      if (prompt + kTogether > slab_.prompts) {
        for (int64_t p = prompt; p < slab_.prompts; ++p) positive |= uint64_t(score(p) > 0) << (bit + p - prompt);
        break;
      }
      const __m128 start = _mm_set1_ps(-outside_);
      __m128 sums[] = {start, start, start, start};
      for (size_t i = 0; i < count_; ++i) {
        const float* scores = slab_.scores + voxel_[i] * slab_.prompts + prompt;
        const __m128 weight = _mm_load_ps(weight_[i].data());
        for (size_t four = 0; four < 4; ++four) {
          sums[four] = _mm_add_ps(sums[four], _mm_mul_ps(weight, _mm_loadu_ps(scores + 4 * four)));
        }
      }
      const __m128 zero = _mm_setzero_ps();
      const __m128i low = _mm_packs_epi32(above(sums[0], zero), above(sums[1], zero));
      const __m128i high = _mm_packs_epi32(above(sums[2], zero), above(sums[3], zero));
      positive |= uint64_t(_mm_movemask_epi8(_mm_packs_epi16(low, high))) << bit;
    }
    return positive;
  }

  static __m128i above(__m128 values, __m128 limit) { return _mm_castps_si128(_mm_cmpgt_ps(values, limit)); }

  void weigh() {
    if (std::exchange(weighed_, true)) return;
    std::array<float, 8> weights;
    for (size_t corner = 0; corner < 8; ++corner) {
      double weight = 1;
      for (size_t a = 0; a < 3; ++a) weight *= corner >> (2 - a) & 1 ? fraction_[a] : 1 - fraction_[a];
      weights[corner] = float(weight);
    }
    outside_ = 0;
    size_t next = 0;
    for (size_t corner = 0; corner < 8; ++corner) {
      if (next < count_ && corner_[next] == corner) {
        weight_[next++].fill(weights[corner]);
      } else {
        outside_ += weights[corner];
      }
    }
  }

  const ModelGrid& grid_;
  const Limits& limits_;
  const Slab& slab_;
  Cell cell_;
  Point fraction_{};
  size_t count_ = 0;  // of corners in the crop with a weight
  std::array<size_t, 8> corner_{};
  std::array<int64_t, 8> voxel_{};
  std::vector<uint64_t> any_, all_;  // a bit a prompt: positive at a corner, and surely in the whole cell
  bool weighed_ = false;
  alignas(16) std::array<std::array<float, 4>, 8> weight_{};  // each four times
  float outside_ = 0;                                         // weight of the other corners, which count as -1
};

/// Up to 64 voxels of one row, and which prompts are set in each: they go to the masks a word at a time.
class Decided {
 public:
  explicit Decided(int64_t words) : bits_(size_t(words * kWordBits)) {}

  uint64_t& prompts(int64_t word, size_t voxel) { return bits_[size_t(word * kWordBits) + voxel]; }

  /// Sets the bits of `count` voxels from bit `first` of plane h on, and clears them here.
  void set_in(BitMasks& out, int64_t first_prompt, int64_t h, int64_t first, int64_t count) {
    for (size_t at = 0; at < bits_.size(); at += kWordBits) {
      uint64_t* voxels = bits_.data() + at;
      uint64_t any = 0, all = ~uint64_t(0);
      for (int64_t i = 0; i < count; ++i) any |= voxels[i], all &= voxels[i];
      if (any == 0) continue;
      const int64_t prompt = first_prompt + int64_t(at);
      if (any == all) {
        const uint64_t run = ~uint64_t(0) >> (kWordBits - count);
        for (uint64_t left = any; left != 0; left &= left - 1) {
          or_bits(out.plane(prompt + std::countr_zero(left), h), first, run);
        }
      } else {
        transpose_bits(voxels);
        for (uint64_t left = any; left != 0; left &= left - 1) {
          const int p = std::countr_zero(left);
          or_bits(out.plane(prompt + p, h), first, voxels[p]);
        }
      }
      std::fill_n(voxels, kWordBits, uint64_t(0));
    }
  }

 private:
  std::vector<uint64_t> bits_;  // [words][64 voxels]: bit p of word i is prompt 64 i + p
};

/// What 64 or fewer scores say: bit i: values[i] > 0.
struct Signs {
  bool finite = true;  // a score is in [-1, 1], so NaN alone is not
  bool tiny = false;   // one is positive, and less than kTiny

  uint64_t of(const float* values, int64_t count) {
    const __m128 zero = _mm_setzero_ps(), least = _mm_set1_ps(kTiny);
    __m128 strange = zero, small = zero;
    uint64_t mask = 0;
    int64_t i = 0;
    for (; i + 4 <= count; i += 4) {
      const __m128 four = _mm_loadu_ps(values + i), positive = _mm_cmpgt_ps(four, zero);
      mask |= uint64_t(_mm_movemask_ps(positive)) << i;
      small = _mm_or_ps(small, _mm_and_ps(positive, _mm_cmplt_ps(four, least)));
      strange = _mm_or_ps(strange, _mm_cmpunord_ps(four, four));
    }
    finite = finite && _mm_movemask_ps(strange) == 0;
    tiny = tiny || _mm_movemask_ps(small) != 0;
    for (; i < count; ++i) {
      mask |= uint64_t(values[i] > 0) << i;
      finite = finite && !std::isnan(values[i]);
      tiny = tiny || (values[i] > 0 && values[i] < kTiny);
    }
    return mask;
  }
};

/// Bits of the prompts whose score is positive, for every voxel of the slab. Throws Error where a score is none: a mask
/// without those voxels would say that an organ is absent.
Tensor positive_bits(const Tensor& scores, int64_t words, bool& tiny) {
  const int64_t voxels = scores.shape[0] * scores.shape[1] * scores.shape[2], prompts = scores.shape[3];
  Tensor bits({voxels, words}, DType::i64);
  const float* values = scores.address<float>();
  uint64_t* out = static_cast<uint64_t*>(bits.raw());
  std::atomic<bool> all_finite{true}, any_tiny{false};
  parallel_for(voxels, 4096, [&](int64_t first, int64_t last) {
    Signs signs;
    for (int64_t v = first; v < last; ++v) {
      for (int64_t word = 0; word < words; ++word) {
        const int64_t begin = word * kWordBits, count = std::min(kWordBits, prompts - begin);
        out[v * words + word] = signs.of(values + v * prompts + begin, count);
      }
    }
    if (!signs.finite) all_finite = false;
    if (signs.tiny) any_tiny = true;
  });
  tiny = any_tiny;
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
  bool tiny = false;
  const Tensor positive = positive_bits(scores, words, tiny);
  const Slab slab{scores.address<float>(),
                  static_cast<const uint64_t*>(positive.raw()),
                  origin,
                  {scores.shape[1] * scores.shape[2], scores.shape[2], 1},
                  prompts,
                  words,
                  tiny};
  const Limits limits = limits_of(grid, axis, first, last);
  const auto& m = grid.scan_to_resampled.m;
  const std::array<int64_t, 3>& size = grid.scan.size;
  // A call decides few rows of many: most planes and lines of the scan are passed over whole.
  Range planes{0, size[0]};
  for (size_t a = 0; a < 3; ++a) {
    const std::array<double, 2> by_w = reach(m[a][1], size[1]), by_d = reach(m[a][2], size[2]);
    planes.keep(m[a][3], m[a][0], limits.from[a] - by_w[1] - by_d[1], limits.before[a] - by_w[0] - by_d[0]);
  }
  const int64_t height = planes.last - planes.first, blocks = divide_up(size[1], kLinesAtOnce);
  parallel_for(height * blocks, 1, [&](int64_t begin, int64_t end) {
    Neighbourhood around(grid, limits, slab);
    Positions positions;
    Decided decided(words);
    Point start;
    const Point step{m[0][2], m[1][2], m[2][2]};
    for (int64_t piece = begin; piece < end; ++piece) {
      // Planes of one block follow each other: they look at the same scores.
      const int64_t h = planes.first + piece % height, first_line = piece / height * kLinesAtOnce;
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
        for (int64_t d = range.first; d < range.last; d += kWordBits) {
          const int64_t count = std::min(kWordBits, range.last - d);
          positions.fill(start, step, d, count, grid.resampled.size);
          for (size_t i = 0; i < size_t(count); ++i) {
            if (!around.move_to(positions, i)) continue;
            for (int64_t word = 0; word < words; ++word) decided.prompts(word, i) = around.positive(word);
            if (probabilities == nullptr) continue;
            for (int64_t prompt = 0; prompt < prompts; ++prompt) {
              if (probabilities[prompt] == nullptr) continue;
              float& p = probabilities[prompt][(h * size[1] + w) * size[2] + d + int64_t(i)];
              p = std::clamp(0.5f + 0.5f * around.score(prompt), 0.0f, 1.0f);
            }
          }
          decided.set_in(out, first_prompt, h, w * size[2] + d, count);
        }
      }
    }
  });
}

}  // namespace sat
