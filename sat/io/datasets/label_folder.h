// Private. A folder of scans and label maps, or masks, with a labels.json that says what they are.
// Reads names alone, no voxel; docs/training/data.md shows the file.
#pragma once

#include <string>

#include "sat/io/datasets/labelled_case.h"

namespace sat {

/// `path` is the folder, or a file such as labels.json; its paths start at the file's folder, or at `root`. Throws
/// Error for what is wrong with the file itself: an unknown key, a pattern without a `*`, no image, a list that names
/// no case, a case or patient in both lists. Cases without their label map or masks are problems of these cases.
LabelledData read_label_folder(const std::string& path, const DatasetOptions& options = {});

}  // namespace sat
