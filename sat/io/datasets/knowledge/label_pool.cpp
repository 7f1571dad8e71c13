// Labels by the roots of how often they are there, scans by those of their data sets.
#include "sat/io/datasets/knowledge/label_pool.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "sat/io/words/unicode.h"
#include "sat/tensor/error.h"

namespace sat {

LabelPool::LabelPool(const std::vector<AnnotatedScan>& scans) {
  std::map<std::string, int64_t> sizes;
  for (const AnnotatedScan& scan : scans) ++sizes[scan.dataset];
  for (size_t i = 0; i < scans.size(); ++i) {
    const std::set<std::string> distinct(scans[i].labels.begin(), scans[i].labels.end());
    for (const std::string& name : distinct) {
      labels_[name].scans.push_back(int64_t(i));
      labels_[name].weights.push_back(1 / std::sqrt(double(sizes[scans[i].dataset])));
    }
  }
  SAT_CHECK(!labels_.empty(), "label pool: none of ", scans.size(), " scans has a labelled structure");
  for (auto& [name, label] : labels_) {
    label.repeats = int64_t(std::nearbyint(std::sqrt(double(label.scans.size()))));
    repeats_ += label.repeats;
  }
}

LabelPool::Choice LabelPool::draw(const std::function<double()>& unit) const {
  int64_t before = int64_t(unit() * double(repeats_));
  auto chosen = labels_.begin();
  while (before >= chosen->second.repeats) before -= (chosen++)->second.repeats;
  const Label& label = chosen->second;

  double total = 0, up_to = 0;
  for (double weight : label.weights) total += weight;
  const double at = unit() * total;
  size_t scan = 0;
  while (scan + 1 < label.scans.size() && (up_to += label.weights[scan]) <= at) ++scan;
  return {chosen->first, label.scans[scan]};
}

std::array<int64_t, 3> crop_start(const std::array<int64_t, 3>& size, const std::array<int64_t, 3>& crop,
                                  const std::array<int64_t, 3>& voxel) {
  std::array<int64_t, 3> start{};
  for (size_t axis = 0; axis < 3; ++axis) {
    start[axis] = std::max<int64_t>(0, std::min(voxel[axis] - crop[axis] / 2, size[axis] - crop[axis]));
  }
  return start;
}

bool boxes_meet(const VoxelBox& a, const VoxelBox& b) {
  for (size_t axis = 0; axis < 3; ++axis) {
    if (a.start[axis] > b.end[axis] || b.start[axis] > a.end[axis]) return false;
  }
  return true;
}

std::string merged_modality(const std::string& word) {
  struct Fragment {
    const char *part, *modality;
  };
  constexpr Fragment kFragments[] = {{"t1", "mri"},    {"t2", "mri"},        {"mri", "mri"},
                                     {"flair", "mri"}, {"dwi", "mri"},       {"ct", "ct"},
                                     {"us", "us"},     {"ultrasound", "us"}, {"pet", "pet"}};
  const std::string lower = python_lower(word);
  for (const auto& [part, modality] : kFragments) {
    if (lower.find(part) != std::string::npos) return modality;
  }
  return lower;
}

Modality pretraining_modality(const std::string& word) { return parse_modality(merged_modality(word)); }

}  // namespace sat
