// Private. SAT's own lists of cases: one JSON object a line, before its conversion (a scan and its label map) or after
// (arrays). Reads the list alone, no voxel; docs/training/data.md shows both.
#pragma once

#include <string>

#include "sat/io/datasets/labelled_case.h"

namespace sat {

/// Reads a file of records. Relative paths start at the file's folder. A record's `label` names the structures; of a
/// label map the first has the value 1, the second 2 and so on, or as `label_values` says. Converted records
/// (`renorm_image`) are taken as they are. `official_split` says what a case is for (train; val, validation or test are
/// validation); where it does not, it is a training case, or the option's fraction decides by `patient_id`. A line that
/// is no such record is a problem of that case.
LabelledData read_case_records(const std::string& path, const DatasetOptions& options = {});

}  // namespace sat
