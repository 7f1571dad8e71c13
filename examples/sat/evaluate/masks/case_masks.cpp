// Masks out of label maps and mask files.
#include "examples/sat/evaluate/masks/case_masks.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <unordered_map>

#include "sat/io/scans/scan_checks.h"
#include "sat/tensor/error.h"
#include "sat/tensor/parallel.h"

namespace sat::cli {

std::vector<int64_t> values_in(const Tensor& labels, const std::string& path) {
  std::set<int64_t> found;
  const float* values = labels.data<float>();
  float last = 0;
  for (int64_t v = 0; v < labels.numel(); ++v) {
    if (values[v] == last) continue;
    last = values[v];
    SAT_CHECK(last == std::nearbyint(last) && std::fabs(last) <= float(1 << 24), path, ": holds ", last,
              ", which is no label");
    if (last != 0) found.insert(int64_t(last));
  }
  return {found.begin(), found.end()};
}

MaskFiles::MaskFiles(std::vector<StructureSource> structures) : structures_(std::move(structures)) {
  std::set<std::string> seen;
  for (const StructureSource& structure : structures_) {
    for (const std::string& path : structure.paths) {
      if (!seen.insert(path).second) continue;
      const Geometry geometry = read_nifti_header(path).geometry;
      if (path_.empty()) {
        path_ = path;
        geometry_ = geometry;
      } else {
        check_same_grid(geometry_, path_, geometry, path);
      }
    }
  }
}

const Tensor& MaskFiles::labels(const std::string& path) {
  if (path != read_path_) {
    read_ = {};  // before the next one is read: one at a time
    NiftiScan scan = read_nifti(path);
    SAT_CHECK(scan.non_finite == 0, path, ": ", scan.non_finite, " voxels are not finite numbers");
    read_ = std::move(scan.volume.voxels);
    read_path_ = path;
  }
  return read_;
}

std::vector<int64_t> MaskFiles::values(const std::string& label_map) { return values_in(labels(label_map), label_map); }

BitMasks MaskFiles::read(size_t first, size_t last) {
  BitMasks masks(geometry_.size, int64_t(last - first));
  std::vector<std::string> maps;
  for (size_t i = first; i < last; ++i) {
    for (const std::string& path : structures_[i].paths) {
      if (structures_[i].values.empty()) {
        read_nifti_mask(path, masks, int64_t(i - first));
      } else if (std::find(maps.begin(), maps.end(), path) == maps.end()) {
        maps.push_back(path);
      }
    }
  }
  for (const std::string& path : maps) {
    std::unordered_map<int64_t, std::vector<int64_t>> prompts_of;
    for (size_t i = first; i < last; ++i) {
      const std::vector<std::string>& paths = structures_[i].paths;
      if (structures_[i].values.empty() || std::find(paths.begin(), paths.end(), path) == paths.end()) continue;
      for (const int64_t value : structures_[i].values) prompts_of[value].push_back(int64_t(i - first));
    }
    const float* values = labels(path).data<float>();
    const auto [H, W, D] = geometry_.size;
    parallel_for(H, 1, [&, W = W, D = D](int64_t h, int64_t) {
      float last_value = 0;
      const std::vector<int64_t>* prompts = nullptr;
      for (int64_t v = 0; v < W * D; ++v) {
        const float value = values[h * W * D + v];
        if (value == 0) continue;
        if (value != last_value) {
          const auto found = prompts_of.find(int64_t(value));
          prompts = found == prompts_of.end() ? nullptr : &found->second;
          last_value = value;
        }
        if (!prompts) continue;
        for (const int64_t prompt : *prompts) masks.set(prompt, h, v / D, v % D);
      }
    });
  }
  return masks;
}

}  // namespace sat::cli
