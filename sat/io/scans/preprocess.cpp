// The steps of the published pipeline in order: turn, resample, crop, clip, normalise.
#include "sat/io/scans/preprocess.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "sat/tensor/context.h"
#include "sat/tensor/parallel.h"

namespace sat {

namespace {

constexpr int64_t kGrain = 1 << 18;     // voxels a piece, for sums over pieces
constexpr int64_t kAskEachLines = 256;  // whether to go on

void check_scan(const Volume& scan) {
  const auto& size = scan.geometry.size;
  SAT_CHECK(scan.voxels.dtype == DType::f32 && scan.voxels.shape == Shape({size[0], size[1], size[2]}) &&
                scan.voxels.numel() > 0,
            "preprocess: voxels are ", scan.voxels.dtype, " ", scan.voxels.shape, ", need f32 [", size[0], ", ",
            size[1], ", ", size[2], "] with at least one voxel");
}

void check_finite(const Tensor& voxels) {
  const float* values = voxels.address<float>();
  const int64_t count = voxels.numel();
  std::vector<int64_t> bad(size_t(divide_up(count, kGrain))), first_bad(bad.size(), -1);
  parallel_for(count, kGrain, [&](int64_t first, int64_t last) {
    const size_t piece = size_t(first / kGrain);
    for (int64_t v = first; v < last; ++v) {
      if (std::isfinite(values[v])) continue;
      if (bad[piece]++ == 0) first_bad[piece] = v;
    }
  });
  int64_t total = 0, where = -1;
  for (size_t piece = 0; piece < bad.size(); ++piece) {
    total += bad[piece];
    if (where < 0) where = first_bad[piece];
  }
  const int64_t plane = voxels.shape[1] * voxels.shape[2];
  SAT_CHECK(total == 0, "preprocess: ", total, " of ", count, " voxels are not finite numbers, the first (",
            values[where < 0 ? 0 : where], ") at [", where / plane, ", ", where % plane / voxels.shape[2], ", ",
            where % voxels.shape[2], "]");
}

struct Box {
  std::array<std::array<int64_t, 2>, 3> ends{};
  bool found = false;

  void include(const Box& other) {
    if (!other.found) return;
    if (!found) *this = other;
    for (size_t axis = 0; axis < 3; ++axis) {
      ends[axis][0] = std::min(ends[axis][0], other.ends[axis][0]);
      ends[axis][1] = std::max(ends[axis][1], other.ends[axis][1]);
    }
  }
};

/// Bounding box of the voxels above 0; the whole volume when there is none.
Box foreground(const Tensor& voxels) {
  const float* values = voxels.data<float>();
  const int64_t H = voxels.shape[0], W = voxels.shape[1], D = voxels.shape[2];
  const int64_t lines_at_once = std::max<int64_t>(1, kGrain / D);
  std::vector<Box> boxes(size_t(divide_up(H * W, lines_at_once)), Box{});
  parallel_for(H * W, lines_at_once, [&](int64_t first, int64_t last) {
    Box& mine = boxes[size_t(first / lines_at_once)];
    for (int64_t line = first; line < last; ++line) {
      const float* row = values + line * D;
      const float* begin = std::find_if(row, row + D, [](float value) { return value > 0; });
      if (begin == row + D) continue;
      int64_t d = D - 1;
      while (!(row[d] > 0)) --d;
      const int64_t h = line / W, w = line % W;
      mine.include({{{{h, h + 1}, {w, w + 1}, {begin - row, d + 1}}}, true});
    }
  });
  Box all;
  for (const Box& box : boxes) all.include(box);
  if (!all.found) all.ends = {{{0, H}, {0, W}, {0, D}}};
  return all;
}

/// The box's voxels, moved to the front of the same memory so that no second volume is needed.
Tensor crop_in_place(Tensor voxels, const std::array<std::array<int64_t, 2>, 3>& box) {
  float* values = voxels.data<float>();
  const int64_t W = voxels.shape[1], D = voxels.shape[2];
  const Shape shape{box[0][1] - box[0][0], box[1][1] - box[1][0], box[2][1] - box[2][0]};
  if (shape == voxels.shape) return voxels;
  float* out = values;
  for (int64_t h = box[0][0]; h < box[0][1]; ++h) {
    for (int64_t w = box[1][0]; w < box[1][1]; ++w) {
      if (w % kAskEachLines == 0) Context::current().stop_if_cancelled();
      std::memmove(out, values + (h * W + w) * D + box[2][0], size_t(shape[2]) * sizeof(float));
      out += shape[2];
    }
  }
  return voxels.reshape({voxels.numel()}).slice(0, shape.numel()).reshape(shape);
}

/// Unsigned numbers that sort as the floats do.
uint32_t sortable(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

float from_sortable(uint32_t key) {
  const uint32_t bits = key & 0x80000000u ? key & 0x7FFFFFFFu : ~key;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

/// Order statistics without a sorted copy: a histogram of the keys' upper halves finds the bucket, one of the lower
/// halves within it the value.
class OrderStatistics {
 public:
  explicit OrderStatistics(const Tensor& voxels) : values_(voxels.data<float>()), count_(voxels.numel()) {
    upper_ = histogram([](uint32_t key) { return int64_t(key >> 16); });
  }

  /// The value at `rank` (0-based) of the sorted voxels.
  float at(int64_t rank) const {
    const int64_t upper = bucket_of(upper_, rank);
    const std::vector<int64_t> lower =
        histogram([upper](uint32_t key) { return int64_t(key >> 16) == upper ? int64_t(key & 0xFFFF) : -1; });
    return from_sortable(uint32_t(upper) << 16 | uint32_t(bucket_of(lower, rank)));
  }

 private:
  static constexpr int64_t kBuckets = 1 << 16;

  template <class BucketOf>
  std::vector<int64_t> histogram(BucketOf bucket) const {
    constexpr int64_t kMostPieces = 16;                // each has counters of its own
    constexpr int64_t kMostAtOnce = int64_t(1) << 28;  // voxels
    const int64_t some = std::min(count_, kMostAtOnce);
    const int64_t grain = std::max(kGrain, divide_up(some, kMostPieces));
    std::vector<std::vector<int64_t>> counts(size_t(divide_up(some, grain)), std::vector<int64_t>(kBuckets));
    for (int64_t start = 0; start < count_; start += some) {
      parallel_for(std::min(some, count_ - start), grain, [&](int64_t first, int64_t last) {
        std::vector<int64_t>& mine = counts[size_t(first / grain)];
        for (int64_t v = start + first; v < start + last; ++v) {
          const int64_t b = bucket(sortable(values_[v]));
          if (b >= 0) ++mine[size_t(b)];
        }
      });
    }
    for (size_t piece = 1; piece < counts.size(); ++piece) {
      for (size_t b = 0; b < size_t(kBuckets); ++b) counts[0][b] += counts[piece][b];
    }
    return std::move(counts[0]);
  }

  /// The bucket that holds the rank; `rank` becomes the rank within it.
  static int64_t bucket_of(const std::vector<int64_t>& counts, int64_t& rank) {
    int64_t b = 0;
    while (rank >= counts[size_t(b)]) rank -= counts[size_t(b++)];
    return b;
  }

  const float* values_;
  int64_t count_;
  std::vector<int64_t> upper_;
};

float percentile(const OrderStatistics& sorted, int64_t count, double percent) {
  const double position = percent / 100 * double(count - 1);
  const int64_t below = std::min(int64_t(position), count - 1);
  const double low = double(sorted.at(below));
  const double fraction = position - double(below);
  if (fraction == 0) return float(low);
  return float(low + fraction * (double(sorted.at(std::min(below + 1, count - 1))) - low));
}

/// Calls body(value) on every voxel, which it may change.
template <class Body>
void for_each_voxel(Tensor& voxels, Body body) {
  float* values = voxels.data<float>();
  parallel_for(voxels.numel(), kGrain, [&](int64_t first, int64_t last) {
    for (int64_t v = first; v < last; ++v) body(values[v]);
  });
}

/// Sum over voxels in double of a function of each, piece by piece in order, so the same for any number of threads.
template <class Term>
double sum_over(const Tensor& voxels, Term term) {
  const float* values = voxels.data<float>();
  std::vector<double> sums(size_t(divide_up(voxels.numel(), kGrain)));
  parallel_for(voxels.numel(), kGrain, [&](int64_t first, int64_t last) {
    double sum = 0;
    for (int64_t v = first; v < last; ++v) sum += term(double(values[v]));
    sums[size_t(first / kGrain)] = sum;
  });
  double total = 0;
  for (double sum : sums) total += sum;
  return total;
}

/// Clips and normalises result.voxels in place and notes the numbers used.
void normalise(Preprocessed& result, const Normalisation& how) {
  SAT_CHECK(how.low < how.high, "preprocess: intensity bounds are ", how.low, " and ", how.high,
            ", need low below high");
  Tensor& voxels = result.voxels;
  const int64_t count = voxels.numel();
  result.low = how.low, result.high = how.high;
  if (how.kind == Normalisation::Kind::percentiles) {
    SAT_CHECK(how.low >= 0 && how.high <= 100, "preprocess: percentiles are ", how.low, " and ", how.high,
              ", need 0 to 100");
    const OrderStatistics sorted(voxels);
    result.low = double(percentile(sorted, count, how.low));
    result.high = double(percentile(sorted, count, how.high));
  }
  const float low = float(result.low), high = float(result.high);
  for_each_voxel(voxels, [=](float& value) { value = std::clamp(value, low, high); });
  const double mean = result.mean = sum_over(voxels, [](double value) { return value; }) / double(count);
  const double squares = sum_over(voxels, [mean](double value) { return (value - mean) * (value - mean); });
  const double deviation = result.deviation = std::sqrt(squares / double(count));

  const double first_value = double(voxels.data<float>()[0]);
  if (sum_over(voxels, [=](double value) { return value != first_value; }) == 0) {
    result.deviation = 0;
    result.warnings.push_back("after clipping all voxels are the same, so the model sees zeros");
    for_each_voxel(voxels, [](float& value) { value = 0; });
    return;
  }
  for_each_voxel(voxels, [=](float& value) { value = float((double(value) - mean) / deviation); });
}

Affine shifted(const Affine& affine, const std::array<std::array<int64_t, 2>, 3>& crop) {
  Affine result = affine;
  const std::array<double, 3> origin = sat::apply(affine, {double(crop[0][0]), double(crop[1][0]), double(crop[2][0])});
  for (size_t r = 0; r < 3; ++r) result.m[r][3] = origin[r];
  return result;
}

void set_crop(ModelGrid& grid, const std::array<std::array<int64_t, 2>, 3>& crop) {
  grid.crop = crop;
  for (size_t axis = 0; axis < 3; ++axis) grid.model.size[axis] = crop[axis][1] - crop[axis][0];
  grid.model.voxel_to_world_mm = shifted(grid.resampled.voxel_to_world_mm, crop);
}

/// Everything that follows from the geometry alone.
struct Plan {
  AxisOrder order;
  SpacedGrid spaced;
  ModelGrid grid;
};

Plan plan(const Geometry& scan, const PreprocessOptions& options) {
  Plan p;
  p.order = axis_order(scan.voxel_to_world_mm, options.orientation);
  p.grid.scan = scan;
  p.grid.oriented = reorient(scan, p.order);
  p.spaced = space_grid(p.grid.oriented, options.spacing_mm);
  p.grid.resampled = p.spaced.geometry;
  p.grid.scan_to_resampled = p.spaced.from_source * source_to_turned(scan.size, p.order);
  p.grid.resampled_any = p.spaced.resampled;
  const auto& size = p.grid.resampled.size;
  set_crop(p.grid, {{{0, size[0]}, {0, size[1]}, {0, size[2]}}});
  return p;
}

}  // namespace

PreprocessOptions published_preprocess(const std::string& modality) {
  std::string lower = modality;
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = char(c - 'A' + 'a');
  }
  PreprocessOptions options;
  if (lower == "ct") options.normalisation = {Normalisation::Kind::clip, -500, 1000};
  return options;
}

ModelGrid plan_grid(const Geometry& scan, const PreprocessOptions& options) { return plan(scan, options).grid; }

Preprocessed preprocess(const Volume& scan, const PreprocessOptions& options) {
  check_scan(scan);
  Plan planned = plan(scan.geometry, options);
  check_finite(scan.voxels);
  Preprocessed result;
  result.grid = std::move(planned.grid);
  const Tensor resampled = resample(scan.voxels, planned.order, planned.spaced);
  if (Context::current().dry()) {  // a dry run knows no voxels: nothing is cropped
    result.voxels = resampled;
    return result;
  }
  const Box box = foreground(resampled);
  if (!box.found) result.warnings.push_back("no voxel is above 0, so nothing was cropped");
  set_crop(result.grid, box.ends);
  result.voxels = crop_in_place(resampled, box.ends);
  normalise(result, options.normalisation);
  return result;
}

ModelGrid model_space(const ModelGrid& grid) {
  ModelGrid same;
  same.scan = same.oriented = same.resampled = grid.model;
  set_crop(same, {{{0, grid.model.size[0]}, {0, grid.model.size[1]}, {0, grid.model.size[2]}}});
  return same;
}

}  // namespace sat
