// Private. A case from its sources to a file of the cache: scan and label maps read, turned, resampled, cropped and
// normalised as before segmentation, and written by the layout of layout.h.
#pragma once

#include <string>

#include "sat/io/datasets/labelled_case.h"
#include "sat/io/scans/preprocess.h"

namespace sat {

/// Writes the file, which appears complete or not at all. `key` is kept in it. Throws Error naming the file for a
/// source that is missing or damaged, a label map on another grid than its scan, a value that is not a whole number or
/// belongs to no structure, a structure without voxels where the case refuses that, voxels that are NaN or infinite,
/// and a case in which nothing is labelled.
/// Memory: the scan, its copy on the model's grid, a label map, and the masks of one structure and of all together.
void write_cached_case(const std::string& path, const LabelledCase& one, const PreprocessOptions& options,
                       const std::string& key);

}  // namespace sat
