// Masks out of label maps and mask files.
#include "examples/sat/evaluate/masks/case_masks.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <unordered_map>

#include "sat/io/words/text.h"
#include "sat/tensor/error.h"
#include "sat/tensor/parallel.h"

namespace sat::cli {

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
