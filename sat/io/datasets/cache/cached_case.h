// Private. A case on disk as training reads it: voxels as the model sees them in f16, a mask a structure, and what is
// asked of them before they are read. Parts are read by region, and every byte that is used is checked by its CRC-32.
// Knows the file alone; case_writer.h makes it, case_cache.h says where it lies.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sat/io/files/open_file.h"
#include "sat/io/masks/bit_masks.h"
#include "sat/tensor/tensor.h"

namespace sat {

/// One structure of a case, on the model's grid.
struct CachedStructure {
  std::string name;
  int64_t voxels = 0;  // set; 0: it is known to be absent
  VoxelBox box;        // of them
};

/// An open file. Any number of threads may read from it.
class CachedCase {
 public:
  /// Throws Error for a file that is no such case, is damaged, or has another length than its parts.
  explicit CachedCase(const std::string& path);

  const std::string& path() const { return file_->path(); }
  const std::string& key() const { return key_; }               // of what it was made of
  const std::array<int64_t, 3>& size() const { return size_; }  // voxels H, W, D
  const std::vector<CachedStructure>& structures() const { return structures_; }
  const CachedStructure& foreground() const { return foreground_; }  // the union of all structures
  const std::vector<std::string>& unlabelled() const { return unlabelled_; }
  const std::vector<std::string>& warnings() const { return warnings_; }

  /// Voxels f32 `size` from `start` on; 0, the mean intensity, outside the volume.
  Tensor image(const std::array<int64_t, 3>& start, const std::array<int64_t, 3>& size) const;
  /// A structure inside its box: voxel (0, 0, 0) is box.start. Throws Error for an empty one.
  BitMasks mask(int64_t structure) const {
    return read_mask(parts_[size_t(structure)], structures_[size_t(structure)]);
  }
  BitMasks foreground_mask() const { return read_mask(foreground_part_, foreground_); }

 private:
  struct Part {
    int64_t at = 0;
    uint32_t crc = 0;
  };
  BitMasks read_mask(const Part& part, const CachedStructure& structure) const;

  std::unique_ptr<OpenFile> file_;
  std::string key_;
  std::array<int64_t, 3> size_{};
  std::vector<CachedStructure> structures_;
  std::vector<Part> parts_;
  CachedStructure foreground_;
  Part foreground_part_;
  std::vector<std::string> unlabelled_, warnings_;
};

/// Voxel `rank` of a mask, in the order of its voxels, 0 <= rank < masks.count(0).
std::array<int64_t, 3> voxel_of_rank(const BitMasks& mask, int64_t rank);

}  // namespace sat
