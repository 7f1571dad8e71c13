// Private. Which annotated scan an image batch of knowledge pre-training takes, where it is cut, and what its modality
// is called (spec m.4): by labels first, so that rare structures are seen. Knows names and boxes, no voxel.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "sat/io/masks/bit_masks.h"
#include "sat/io/words/modality.h"

namespace sat {

/// A scan, and which structures have voxels in it.
struct AnnotatedScan {
  std::string dataset;
  std::vector<std::string> labels;
};

class LabelPool {
 public:
  /// Throws Error where no scan has a label.
  explicit LabelPool(const std::vector<AnnotatedScan>& scans);

  struct Choice {
    std::string label;
    int64_t scan = 0;  // its place in the list
  };
  /// A label that N scans have with a probability in proportion to round(sqrt(N)), then one of these scans in
  /// proportion to 1 / sqrt(scans of its data set). Two numbers in [0, 1).
  Choice draw(const std::function<double()>& unit) const;

  struct Label {
    int64_t repeats = 0;          // round(sqrt(scans.size()))
    std::vector<int64_t> scans;   // that have it
    std::vector<double> weights;  // of each
  };
  const std::map<std::string, Label>& labels() const { return labels_; }

 private:
  std::map<std::string, Label> labels_;
  int64_t repeats_ = 0;  // of all labels
};

/// Where a crop begins whose middle is this voxel, moved into the volume: per axis max(0, v - floor(crop / 2)), or size
/// - crop where that reaches the end. A volume that is smaller is taken from 0 on.
std::array<int64_t, 3> crop_start(const std::array<int64_t, 3>& size, const std::array<int64_t, 3>& crop,
                                  const std::array<int64_t, 3>& voxel);

/// Whether boxes meet, as the published reader has it: those that only touch do too.
bool boxes_meet(const VoxelBox& a, const VoxelBox& b);

/// The word as the published reader merges it: lower-cased, then mri where it contains t1, t2, mri, flair or dwi, else
/// ct, us (also by "ultrasound") or pet where it contains that, else as it is.
/// QUIRK (parity): the fragments match anywhere ("fundus" is us), and "mr" is none of them.
std::string merged_modality(const std::string& word);
/// The row of the modality table. Differs: a word that the published reader leaves as it is, and then cannot look up,
/// is read as everywhere in this program (parse_modality()): "mr" is mri.
Modality pretraining_modality(const std::string& word);

}  // namespace sat
