// A sample of a scan's voxels, sorted, answers everything that is asked of its values.
#include "sat/io/scans/scan_checks.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "sat/io/words/modality.h"
#include "sat/io/words/text.h"
#include "sat/tensor/parallel.h"

namespace sat {

namespace {

constexpr double kLeastVoxel = 0.01, kMostVoxel = 100;  // mm
constexpr double kLeastExtent = 2, kMostExtent = 3000;  // mm
constexpr int64_t kSampled = 32768;                     // voxels
constexpr double kAlmostAll = 0.99;                     // share of one value in a scan that shows nothing else
constexpr int64_t kFewValues = 16, kMostLabels = 512;   // distinct values of a label map: surely, and at most
constexpr double kPatches = 0.5;                    // share of voxels equal to their neighbour: labels 0.8, scans 0.2
constexpr int64_t kEnoughVoxels = 32;               // to speak of a share
constexpr double kSurelyAir = -200;                 // HU: fat is above, and lungs below
constexpr double kSoftLow = -150, kSoftHigh = 150;  // HU
constexpr double kLeastRange = 200;                 // HU between the extremes of any CT that shows something

std::string lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c;
  return text;
}

std::string three(const std::array<double, 3>& lengths) {
  return significant(lengths[0], 3) + " x " + significant(lengths[1], 3) + " x " + significant(lengths[2], 3) + " mm";
}

/// Finite voxels from all over the scan, in ascending order.
struct Sample {
  std::vector<float> values;
  float common = 0;         // the most frequent value
  double common_share = 0;  // of the sample
  int64_t distinct = 0;
  bool whole = true;   // whole numbers only
  double patches = 0;  // of the voxels that have not the common value: share whose neighbour is equal
  int64_t outside_common = 0;

  explicit Sample(const Tensor& voxels) {
    const float* all = voxels.data<float>();
    const int64_t count = voxels.numel(), step = std::max<int64_t>(1, divide_up(count, kSampled));
    std::vector<std::array<float, 2>> pairs;  // a voxel and its neighbour
    for (int64_t first = 0; first < count; first += step) {
      // A place within each step that follows no axis of the grid.
      const int64_t v = std::min(first + int64_t(uint32_t(first / step) * 2654435761u >> 8) % step, count - 1);
      if (std::isfinite(all[v])) pairs.push_back({all[v], all[v + 1 < count ? v + 1 : v - (v > 0)]});
    }
    for (const auto& pair : pairs) values.push_back(pair[0]);
    std::sort(values.begin(), values.end());
    for (size_t i = 0; i < values.size();) {
      const size_t end =
          size_t(std::upper_bound(values.begin() + int64_t(i), values.end(), values[i]) - values.begin());
      const double share = double(end - i) / double(values.size());
      if (share > common_share) common_share = share, common = values[i];
      whole = whole && values[i] == std::floor(values[i]);
      ++distinct;
      i = end;
    }
    int64_t equal = 0;
    for (const auto& pair : pairs) {
      if (pair[0] == common) continue;
      ++outside_common;
      equal += pair[0] == pair[1];
    }
    patches = outside_common > 0 ? double(equal) / double(outside_common) : 1;
  }

  int64_t common_count() const { return int64_t(values.size()) - outside_common; }
  double least() const { return double(values.front()); }
  double most() const { return double(values.back()); }
  int64_t between(double low, double high) const {
    return std::upper_bound(values.begin(), values.end(), float(high)) -
           std::lower_bound(values.begin(), values.end(), float(low));
  }
};

bool is_label_map(const Sample& sample) {
  if (!sample.whole || sample.least() < 0 || sample.distinct > kMostLabels) return false;
  if (sample.distinct <= kFewValues) return true;
  return sample.outside_common >= kEnoughVoxels && sample.patches >= kPatches;
}

std::string range_of(const Sample& sample) {
  return significant(sample.least(), 4) + " to " + significant(sample.most(), 4);
}

/// What speaks against Hounsfield units, or "".
std::string doubt_of_ct(const Sample& sample) {
  if (sample.least() < 0 && sample.most() - sample.least() < kLeastRange) {
    return "the values span only " + range_of(sample) + ", which are not the Hounsfield units of a CT";
  }
  if (sample.least() > kSurelyAir) {
    const std::string begin = "no voxel is below " + significant(std::min(0.0, sample.least()), 4) +
                              ", but air in a CT has -1000: the values (" + range_of(sample) + ") ";
    if (sample.least() < 0) return begin + "were clipped, or are no CT";
    if (sample.most() <= 1) return begin + "were scaled to 0 .. 1";
    if (sample.most() <= 255) return begin + "are those of an 8-bit picture, or are no CT";
    return begin + "are stored with an offset, such as +1024, or are no CT";
  }
  const bool padding_is_soft = double(sample.common) >= kSoftLow && double(sample.common) <= kSoftHigh;
  const int64_t soft = sample.between(kSoftLow, kSoftHigh) - (padding_is_soft ? sample.common_count() : 0);
  if (sample.outside_common >= kEnoughVoxels && soft * 50 < sample.outside_common) {
    return "hardly a voxel lies about 0, where soft tissue lies in a CT, of values from " + range_of(sample);
  }
  return "";
}

/// Air and soft tissue each have a place of their own in a CT.
bool looks_like_ct(const Sample& sample) {
  const int64_t air = sample.between(-1100, -900), soft = sample.between(kSoftLow, kSoftHigh);
  const auto count = int64_t(sample.values.size());
  return air * 50 > count && soft * 50 > count;
}

}  // namespace

std::array<double, 3> field_of_view_mm(const Geometry& geometry) {
  const std::array<double, 3> norms = column_norms(geometry.voxel_to_world_mm);
  const AxisMap axes = closest_axes(geometry.voxel_to_world_mm);
  std::array<double, 3> shown{};
  for (size_t k = 0; k < 3; ++k) shown[size_t(axes.world_axis[k])] = double(geometry.size[k]) * norms[k];
  return shown;
}

std::vector<std::string> geometry_warnings(const Geometry& geometry) {
  const std::array<double, 3> norms = column_norms(geometry.voxel_to_world_mm);
  std::array<double, 3> extent{};
  for (size_t k = 0; k < 3; ++k) extent[k] = double(geometry.size[k]) * norms[k];
  const auto outside = [](const std::array<double, 3>& lengths, double least, double most) {
    return std::any_of(lengths.begin(), lengths.end(), [=](double mm) { return mm < least || mm > most; });
  };
  if (outside(norms, kLeastVoxel, kMostVoxel)) {
    return {"voxels of " + three(norms) + " are unlike those of a patient's scan; are its lengths in millimetres?"};
  }
  if (outside(extent, kLeastExtent, kMostExtent)) {
    return {"the scan measures " + three(extent) +
            ", where 2 mm to 3 m along each axis can be those of a patient; are its lengths in millimetres?"};
  }
  return {};
}

std::vector<std::string> content_warnings(const Volume& scan, const std::string& modality) {
  const Sample sample(scan.voxels);
  if (sample.values.empty()) return {};
  const bool ct = find_modality(modality) == Modality::ct;
  if (sample.common_share >= kAlmostAll && (sample.distinct == 1 || !is_label_map(sample))) {
    return {"nearly all voxels (" + fixed(100 * sample.common_share, 1) + " %) have the value " +
            significant(double(sample.common), 4) + ", so there is little to see"};
  }
  if (is_label_map(sample)) {
    return {"the voxels have few values, all whole numbers (" + std::to_string(sample.distinct) + " from " +
            range_of(sample) + "), and lie in patches: this looks like a mask or a label map, not a scan"};
  }
  if (ct) {
    const std::string doubt = doubt_of_ct(sample);
    if (!doubt.empty()) return {doubt};
  } else if (looks_like_ct(sample)) {
    return {"the values (" + range_of(sample) +
            ") have air near -1000 and soft tissue about 0: this looks like a CT, not like " + quoted(modality)};
  }
  return {};
}

bool looks_like_a_segmentation_name(const std::string& path) {
  const std::string name = lower(path.substr(path.find_last_of('/') + 1));
  if (name.find("mask") != std::string::npos) return true;
  for (size_t at = 0; at < name.size(); ++at) {
    if (at > 0 && std::string("_-. ").find(name[at - 1]) == std::string::npos) continue;
    for (const char* word : {"seg", "dseg", "aseg", "label", "labels", "labelmap", "segmentation", "roi"}) {
      const size_t end = at + std::string(word).size();
      if (name.compare(at, end - at, word) != 0) continue;
      if (end == name.size() || !(name[end] >= 'a' && name[end] <= 'z')) return true;
    }
  }
  return false;
}

void check_same_grid(const Geometry& expected, const std::string& of, const Geometry& grid, const std::string& path) {
  const auto& a = expected.size;
  const auto& b = grid.size;
  SAT_CHECK(a == b, path, ": has ", b[0], " x ", b[1], " x ", b[2], " voxels, and ", of, " has ", a[0], " x ", a[1],
            " x ", a[2]);
  const std::array<double, 3> steps = column_norms(expected.voxel_to_world_mm);
  const double allowed = 0.1 * *std::min_element(steps.begin(), steps.end());
  double worst = 0;
  for (int corner = 0; corner < 8; ++corner) {
    std::array<double, 3> index{};
    for (size_t axis = 0; axis < 3; ++axis) index[axis] = corner >> axis & 1 ? double(a[axis] - 1) : 0;
    const auto here = sat::apply(expected.voxel_to_world_mm, index), there = sat::apply(grid.voxel_to_world_mm, index);
    worst = std::max(worst, std::hypot(here[0] - there[0], here[1] - there[1], here[2] - there[2]));
  }
  SAT_CHECK(worst <= allowed, path, ": lies elsewhere than ", of, ", up to ", significant(worst, 3),
            " mm apart; at most ", significant(allowed, 3), " mm are allowed");
}

}  // namespace sat
