// Two levels of sums: within a plane in double, then planes merged in order (Chan's formula for the deviation).
#include "sat/io/masks/statistics.h"

#include <emmintrin.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <optional>

#include "sat/io/masks/bit_blocks.h"
#include "sat/tensor/parallel.h"

namespace sat {

namespace {

constexpr int64_t kPromptsAtOnce = 16;  // measured in one pass over the scan: what each has of every plane is kept
constexpr double kFar = std::numeric_limits<double>::infinity();

/// Count, mean and sum of squared distances from the mean.
struct Moments {
  int64_t count = 0;
  double mean = 0, squares = 0, minimum = kFar, maximum = -kFar;

  void merge(const Moments& other) {
    if (other.count == 0) return;
    const double total = double(count + other.count), apart = other.mean - mean;
    squares += other.squares + apart * apart * double(count) * double(other.count) / total;
    mean += apart * double(other.count) / total;
    count += other.count;
    minimum = std::min(minimum, other.minimum);
    maximum = std::max(maximum, other.maximum);
  }
};

/// Sums over the finite ones of some values, four side by side. Deviations are those from one of the values, so their
/// squares are at most as large as the sum of squares that is looked for times the number of values, and nothing but
/// the last digits is lost.
class Sums {
 public:
  explicit Sums(float about) : about_(_mm_set1_pd(double(about))) {}

  /// The values among four, of those whose bit is set.
  void add(const float* values, unsigned bits) {
    const __m128 four = _mm_loadu_ps(values), rest = _mm_sub_ps(four, four);  // 0, or NaN where not finite
    const __m128i each = _mm_setr_epi32(1, 2, 4, 8);
    const __m128i chosen = _mm_cmpeq_epi32(_mm_and_si128(_mm_set1_epi32(int(bits)), each), each);
    const __m128 taken = _mm_and_ps(_mm_castsi128_ps(chosen), _mm_cmpord_ps(rest, rest));
    count_ = _mm_sub_epi32(count_, _mm_castps_si128(taken));
    least_ = _mm_min_ps(least_, _mm_or_ps(_mm_and_ps(taken, four), _mm_andnot_ps(taken, _mm_set1_ps(float(kFar)))));
    most_ = _mm_max_ps(most_, _mm_or_ps(_mm_and_ps(taken, four), _mm_andnot_ps(taken, _mm_set1_ps(-float(kFar)))));
    add_pair(four, _mm_unpacklo_ps(taken, taken), 0);
    add_pair(_mm_movehl_ps(four, four), _mm_unpackhi_ps(taken, taken), 1);
  }

  Moments moments() const {
    alignas(16) int32_t counts[4];
    _mm_store_si128(reinterpret_cast<__m128i*>(counts), count_);
    const int64_t count = int64_t(counts[0]) + counts[1] + counts[2] + counts[3];
    if (count == 0) return {};
    const double sum = sum_of(sum_[0], sum_[1]), squares = sum_of(squares_[0], squares_[1]), n = double(count);
    Moments result{count, _mm_cvtsd_f64(about_) + sum / n, std::max(0.0, squares - sum / n * sum), kFar, -kFar};
    alignas(16) float least[4], most[4];
    _mm_store_ps(least, least_);
    _mm_store_ps(most, most_);
    for (int i = 0; i < 4; ++i) {
      result.minimum = std::min(result.minimum, double(least[i]));
      result.maximum = std::max(result.maximum, double(most[i]));
    }
    return result;
  }

 private:
  void add_pair(__m128 values, __m128 taken, size_t half) {
    const __m128d apart = _mm_and_pd(_mm_castps_pd(taken), _mm_sub_pd(_mm_cvtps_pd(values), about_));
    sum_[half] = _mm_add_pd(sum_[half], apart);
    squares_[half] = _mm_add_pd(squares_[half], _mm_mul_pd(apart, apart));
  }

  static double sum_of(__m128d a, __m128d b) {
    alignas(16) double two[2];
    _mm_store_pd(two, _mm_add_pd(a, b));
    return two[0] + two[1];
  }

  __m128d about_;
  __m128i count_ = _mm_setzero_si128();  // a plane has fewer voxels than 2^31
  __m128 least_ = _mm_set1_ps(float(kFar)), most_ = _mm_set1_ps(-float(kFar));
  __m128d sum_[2] = {_mm_setzero_pd(), _mm_setzero_pd()}, squares_[2] = {_mm_setzero_pd(), _mm_setzero_pd()};
};

/// The first finite value under a mask in one plane.
std::optional<float> first_finite(const BitMasks& masks, int64_t prompt, int64_t h, const float* plane) {
  for (int64_t word = 0; word < masks.plane_bytes / 8; ++word) {
    uint64_t bits = bits_from(masks.plane(prompt, h), masks.plane_bytes / 8, word * 64);
    for (; bits != 0; bits &= bits - 1) {
      const float value = plane[word * 64 + std::countr_zero(bits)];
      if (std::isfinite(value)) return value;
    }
  }
  return {};
}

/// Of one plane, the finite values under a mask.
Moments moments_of_plane(const BitMasks& masks, int64_t prompt, int64_t h, const float* plane) {
  const std::optional<float> about = first_finite(masks, prompt, h, plane);
  if (!about) return {};
  const int64_t words = masks.plane_bytes / 8, voxels = masks.size[1] * masks.size[2];
  const uint8_t* bytes = masks.plane(prompt, h);
  Sums sums(*about);
  for (int64_t at = 0; at < voxels; at += 64) {
    uint64_t bits = bits_from(bytes, words, at);
    for (int64_t four = at; bits != 0; four += 4, bits >>= 4) {
      if ((bits & 15) == 0) continue;
      if (four + 4 <= voxels) {
        sums.add(plane + four, unsigned(bits & 15));
      } else {
        float last[4] = {};
        std::copy(plane + four, plane + voxels, last);
        sums.add(last, unsigned(bits & 15));
      }
    }
  }
  return sums.moments();
}

MaskStatistics statistics_of(const MaskProfile& profile, const Moments& intensity, const Affine& affine) {
  MaskStatistics result;
  result.voxels = profile.count();
  if (result.voxels == 0) return result;
  result.box = profile.box();
  result.volume_mm3 = double(result.voxels) * std::fabs(determinant(affine));
  result.measured = intensity.count;
  if (intensity.count > 0) {
    result.mean = intensity.mean;
    result.deviation = std::sqrt(intensity.squares / double(intensity.count));
    result.minimum = intensity.minimum;
    result.maximum = intensity.maximum;
  }
  for (size_t axis = 0; axis < 3; ++axis) {
    const std::vector<int64_t>& planes = profile.voxels[axis];
    double index_sum = 0;
    for (size_t i = 0; i < planes.size(); ++i) index_sum += double(i) * double(planes[i]);
    result.centroid_voxel[axis] = index_sum / double(result.voxels);
    if (result.box.start[axis] == 0 || result.box.end[axis] == int64_t(planes.size())) result.touches_border = true;
  }
  result.centroid_mm = sat::apply(affine, result.centroid_voxel);
  return result;
}

/// Of prompts [first, last), few enough to keep what each has of every plane.
void measure_some(std::vector<MaskStatistics>& all, const BitMasks& masks, int64_t first, int64_t last,
                  const Volume& scan) {
  const int64_t H = masks.size[0], plane_voxels = masks.size[1] * masks.size[2];
  const float* intensities = scan.voxels.data<float>();
  std::vector<Moments> of_planes(size_t((last - first) * H));
  parallel_for(H, 1, [&](int64_t h, int64_t) {
    for (int64_t prompt = first; prompt < last; ++prompt) {
      of_planes[size_t((prompt - first) * H + h)] = moments_of_plane(masks, prompt, h, intensities + h * plane_voxels);
    }
  });
  for (int64_t prompt = first; prompt < last; ++prompt) {
    Moments intensity;
    for (int64_t h = 0; h < H; ++h) intensity.merge(of_planes[size_t((prompt - first) * H + h)]);
    all.push_back(statistics_of(masks.profile(prompt), intensity, scan.geometry.voxel_to_world_mm));
  }
}

void check_sizes(const BitMasks& masks, const Volume& scan) {
  const Shape expected{masks.size[0], masks.size[1], masks.size[2]};
  SAT_CHECK(scan.voxels.shape == expected, "measure_mask: masks are ", expected, ", the scan is ", scan.voxels.shape);
}

template <class Array>
Json numbers(const Array& values) {
  Json list = Json::array();
  for (const auto value : values) list.push(value);
  return list;
}

}  // namespace

MaskStatistics measure_mask(const BitMasks& masks, int64_t prompt, const Volume& scan) {
  check_sizes(masks, scan);
  SAT_CHECK(prompt >= 0 && prompt < masks.prompts, "measure_mask: prompt is ", prompt, ", there are ", masks.prompts);
  std::vector<MaskStatistics> one;
  measure_some(one, masks, prompt, prompt + 1, scan);
  return one[0];
}

std::vector<MaskStatistics> measure_masks(const BitMasks& masks, const Volume& scan) {
  check_sizes(masks, scan);
  std::vector<MaskStatistics> all;
  for (int64_t first = 0; first < masks.prompts; first += kPromptsAtOnce) {
    measure_some(all, masks, first, std::min(masks.prompts, first + kPromptsAtOnce), scan);
  }
  return all;
}

Json to_json(const MaskStatistics& statistics) {
  const bool any = statistics.voxels > 0, measured = statistics.measured > 0;
  const auto or_null = [](bool known, double value) { return known ? Json(value) : Json(); };
  Json intensity = Json::object();
  intensity.set("mean", or_null(measured, statistics.mean)).set("sd", or_null(measured, statistics.deviation));
  intensity.set("min", or_null(measured, statistics.minimum)).set("max", or_null(measured, statistics.maximum));
  Json json = Json::object();
  json.set("voxels", statistics.voxels).set("volume_mm3", statistics.volume_mm3).set("intensity", std::move(intensity));
  json.set("centroid_mm", any ? numbers(statistics.centroid_mm) : Json());
  json.set("centroid_voxel", any ? numbers(statistics.centroid_voxel) : Json());
  Json box = Json::object().set("start", numbers(statistics.box.start)).set("end", numbers(statistics.box.end));
  json.set("bounding_box", any ? std::move(box) : Json());
  json.set("touches_border", statistics.touches_border);
  return json;
}

}  // namespace sat
