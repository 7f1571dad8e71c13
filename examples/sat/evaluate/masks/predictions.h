// A folder of predicted masks, as sat segment and others write them, and which of its files belong to a case.
// Knows names and manifests; voxels are case_masks.h's.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "examples/sat/evaluate/masks/case_masks.h"
#include "sat/io/datasets/labelled_case.h"
#include "sat/io/words/json.h"

namespace sat::cli {

/// How a case lies in the model's space.
struct StoredGrid {
  std::string orientation;
  std::array<double, 3> spacing_mm{1, 1, 3};  // that it was resampled to
  std::array<std::array<int64_t, 2>, 3> crop{};
  std::array<int64_t, 3> resampled{};  // before the crop
  /// 1 x 1 x 3 mm, but for axes that are so near that they were kept: the space of SAT's protocol.
  bool is_sat() const;
};

struct PredictedCase {
  std::vector<StructureSource> structures;  // as asked for and in that order
  std::optional<StoredGrid> grid;           // of a result of sat segment, where it is that of SAT's protocol
  bool model_space = false;                 // masks lie on that grid, not on the scan's
};

/// A case is found as, in this order:
///   sat segment's     a folder with manifest.json whose scan is the case's image, by its path, or by its name where
///                     only one manifest has it
///   masks             ID/STRUCTURE.nii.gz (or .nii), also below DATASET/; spaces of names may be underscores
///   label maps        ID.nii.gz (or .nii), also below DATASET/; values by labels.json of the folder, {"name": value}
///   or
///                     {"value": "name"} or sat segment's own, and without it by the values of the case's labels
/// where ID is the case's id, or the name of its image without its extension.
class PredictionFolder {
 public:
  /// Throws Error when there is no such folder, or its labels.json cannot be read.
  explicit PredictionFolder(const std::string& path);

  /// Throws Error, naming where was looked, when the case or one of the structures is not there.
  PredictedCase find(const LabelledCase& one, const std::vector<StructureSource>& truth) const;

 private:
  struct Stored {
    std::string folder;
    Json manifest;
    std::string error;  // why the manifest cannot be read
  };
  const Stored* find_manifest(const LabelledCase& one) const;
  PredictedCase of_manifest(const Stored& stored, const std::vector<StructureSource>& truth) const;
  std::vector<int64_t> values_of(const StructureSource& truth) const;

  std::string path_;
  std::vector<Stored> manifests_;
  std::map<std::string, std::vector<int64_t>> values_;  // of labels.json, by name
  bool named_ = false;                                  // there is a labels.json
};

}  // namespace sat::cli
