// Private. Scans with contoured structures, whoever listed them: what a training is told about its data before a voxel
// is read. label_folder.h and case_records.h read lists, cache/ the voxels.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "sat/io/masks/bit_masks.h"

namespace sat {

/// What it means where a structure that was asked for has no voxel in a case, or no mask file.
enum class EmptyLabel : uint8_t {
  refuse,     // something is wrong: Error
  absent,     // it is not there, so the case says what it does not look like
  unlabelled  // it was not contoured: neither there nor absent
};
EmptyLabel parse_empty_label(const std::string& word);  // "refuse", "absent" or "unlabelled"; throws Error

/// One structure of a case, and the files that say where it is.
struct StructureSource {
  std::string name;
  std::vector<std::string> paths;  // one label map, or masks whose union it is; none: it is known to be absent
  std::vector<int64_t> values;     // of the label map; none: every voxel of the masks that is not 0
  std::optional<VoxelBox> box;     // of converted records: where in the volume the array of the mask lies
};

struct LabelledCase {
  std::string id;  // unique in its data set
  std::string dataset, modality, patient;
  std::string orientation = "RAS";
  std::string image;       // a NIfTI scan
  bool converted = false;  // `image` is an array f32 [1, H, W, D], turned, resampled, cropped and normalised before
  std::vector<StructureSource> structures;
  std::vector<std::string> unlabelled;  // structures of the data set that were not contoured here
  std::vector<int64_t> ignored;         // values of label maps that belong to no structure
  EmptyLabel empty = EmptyLabel::absent;
};

/// "pt_7 of openkbp", for messages.
std::string name_of(const LabelledCase& one);

/// A case that cannot be used. `reason` is a sentence that names case and file.
struct CaseProblem {
  std::string dataset, id, reason;
};
/// Told about every case that is left out. None: the first one is thrown as Error.
using OnCaseProblem = std::function<void(const CaseProblem&)>;

/// Runs body() for a case; an Error of it names the case and goes to `on_problem`. True where there was none.
bool try_case(const std::string& dataset, const std::string& id, const OnCaseProblem& on_problem,
              const std::function<void()>& body);

/// The cases of one or more lists, by what they are for.
struct LabelledData {
  std::vector<LabelledCase> train, validation;
};

struct DatasetOptions {
  double validation_fraction = -1;  // of the patients; below 0: as the list itself says
  uint64_t seed = 0;                // of that choice
  OnCaseProblem on_problem;
};

/// Which of the patients are for validation: round(fraction * patients) of them, at least one where the fraction is
/// above 0 and there are two. Depends on seed, data set and the set of names alone.
std::vector<std::string> validation_patients(const std::vector<std::string>& patients, const std::string& dataset,
                                             double fraction, uint64_t seed);

/// A folder with labels.json (or that file), or a file of records in JSON lines, by what lies at the path.
LabelledData read_dataset(const std::string& path, const DatasetOptions& options = {});

}  // namespace sat
