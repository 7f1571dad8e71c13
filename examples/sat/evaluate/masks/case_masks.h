// The masks of a case's structures on one grid, from files: true ones, or predicted ones.
// Reads some structures at a time, so that hundreds of a large scan need not lie in memory together.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sat/io/datasets/labelled_case.h"
#include "sat/io/masks/bit_masks.h"
#include "sat/io/nifti/nifti.h"

namespace sat::cli {

/// Throws Error for a file that is no label map: a voxel that is not a whole number. The distinct values, 0 aside.
std::vector<int64_t> values_in(const Tensor& labels, const std::string& path);

class MaskFiles {
 public:
  /// Throws Error where files lie on different grids; reads headers alone.
  explicit MaskFiles(std::vector<StructureSource> structures);

  const std::vector<StructureSource>& structures() const { return structures_; }
  const Geometry& geometry() const { return geometry_; }  // of the files
  const std::string& path() const { return path_; }       // of the first file; empty where there is none

  /// Where no structure has a file, since all are known to be absent: the grid of their masks.
  void lie_on(const Geometry& geometry) { geometry_ = geometry; }

  /// Structures first .. last, one a prompt. A label map stays in memory between calls. Throws Error where a label map
  /// holds what is no label.
  BitMasks read(size_t first, size_t last);
  /// The distinct values of a label map that structures are read from, 0 aside.
  std::vector<int64_t> values(const std::string& label_map);

 private:
  const Tensor& labels(const std::string& path);

  std::vector<StructureSource> structures_;
  Geometry geometry_;
  std::string path_, read_path_;
  Tensor read_;  // the label map at read_path_
};

}  // namespace sat::cli
