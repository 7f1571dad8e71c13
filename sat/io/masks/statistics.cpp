// Two levels of sums: within a plane in double, then planes merged in order (Chan's formula for the deviation).
#include "sat/io/masks/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "sat/tensor/parallel.h"

namespace sat {

namespace {

/// Count, mean and sum of squared distances from the mean.
struct Moments {
  int64_t count = 0;
  double mean = 0, squares = 0;
  double minimum = std::numeric_limits<double>::infinity();
  double maximum = -std::numeric_limits<double>::infinity();

  Moments() = default;
  explicit Moments(const std::vector<float>& values) : count(int64_t(values.size())) {
    double sum = 0;
    for (const float value : values) {
      sum += double(value);
      minimum = std::min(minimum, double(value));
      maximum = std::max(maximum, double(value));
    }
    mean = count > 0 ? sum / double(count) : 0;
    for (const float value : values) squares += (double(value) - mean) * (double(value) - mean);
  }

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

struct PlaneSums {
  int64_t voxels = 0;
  std::array<int64_t, 2> index_sums{};  // along W and D
  VoxelBox box;                         // empty where no voxel is set
  Moments intensity;
};

PlaneSums sum_plane(const BitMasks& masks, int64_t prompt, int64_t h, const float* scan) {
  PlaneSums sums;
  VoxelBox box{{h, masks.size[1], masks.size[2]}, {h + 1, 0, 0}};
  std::vector<float> finite;
  const int64_t D = masks.size[2];
  const float* plane = scan + h * masks.size[1] * D;
  masks.for_each_set(prompt, h, [&](int64_t w, int64_t d) {
    ++sums.voxels;
    sums.index_sums[0] += w;
    sums.index_sums[1] += d;
    box.start[1] = std::min(box.start[1], w), box.end[1] = w + 1;
    box.start[2] = std::min(box.start[2], d), box.end[2] = std::max(box.end[2], d + 1);
    const float value = plane[w * D + d];
    if (std::isfinite(value)) finite.push_back(value);
  });
  if (sums.voxels > 0) sums.box = box;
  sums.intensity = Moments(finite);
  return sums;
}

template <class Array>
Json numbers(const Array& values) {
  Json list = Json::array();
  for (const auto value : values) list.push(value);
  return list;
}

}  // namespace

MaskStatistics measure_mask(const BitMasks& masks, int64_t prompt, const Volume& scan) {
  const Shape expected{masks.size[0], masks.size[1], masks.size[2]};
  SAT_CHECK(scan.voxels.shape == expected, "measure_mask: masks are ", expected, ", the scan is ", scan.voxels.shape);
  SAT_CHECK(prompt >= 0 && prompt < masks.prompts, "measure_mask: prompt is ", prompt, ", there are ", masks.prompts);

  const float* intensities = scan.voxels.data<float>();
  std::vector<PlaneSums> planes(size_t(masks.size[0]));
  parallel_for(masks.size[0], 1, [&](int64_t first, int64_t last) {
    for (int64_t h = first; h < last; ++h) planes[size_t(h)] = sum_plane(masks, prompt, h, intensities);
  });

  MaskStatistics result;
  Moments intensity;
  std::array<double, 3> index_sums{};
  for (size_t h = 0; h < planes.size(); ++h) {
    const PlaneSums& plane = planes[h];
    result.voxels += plane.voxels;
    result.box = union_of(result.box, plane.box);
    intensity.merge(plane.intensity);
    index_sums[0] += double(h) * double(plane.voxels);
    index_sums[1] += double(plane.index_sums[0]);
    index_sums[2] += double(plane.index_sums[1]);
  }
  if (result.voxels == 0) return result;

  const Affine& affine = scan.geometry.voxel_to_world_mm;
  result.volume_mm3 = double(result.voxels) * std::fabs(determinant(affine));
  result.measured = intensity.count;
  if (intensity.count > 0) {
    result.mean = intensity.mean;
    result.deviation = std::sqrt(intensity.squares / double(intensity.count));
    result.minimum = intensity.minimum;
    result.maximum = intensity.maximum;
  }
  for (size_t axis = 0; axis < 3; ++axis) result.centroid_voxel[axis] = index_sums[axis] / double(result.voxels);
  result.centroid_mm = sat::apply(affine, result.centroid_voxel);
  for (size_t axis = 0; axis < 3; ++axis) {
    if (result.box.start[axis] == 0 || result.box.end[axis] == masks.size[axis]) result.touches_border = true;
  }
  return result;
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
