// Which folder of the output folder is a scan's own.
// Knows names and owners; what the folder still lacks is resume.h's.
#pragma once

#include <optional>
#include <string>

#include "examples/sat/cases.h"
#include "examples/sat/segment/case_record.h"

namespace sat::cli {

struct CasePlace {
  std::string name;                  // of the folder
  std::optional<CaseRecord> record;  // what it holds
  Json scan;                         // scan_fingerprint()
};

/// A folder is a scan's own when its manifest names the scan's path, or the same bytes at a path where there is nothing
/// any more: the scan was moved. A scan whose plain name is free gets that; where the plain name is another scan's, or
/// other scans of this run have it too, it gets distinct_folder(), which depends on its path alone. So neither the
/// order of a list nor what is in it can put one scan's masks into another's folder. Throws Error when files that no
/// manifest names are in the way, and when the scan cannot be read.
CasePlace find_place(const std::string& output, const Case& one);

}  // namespace sat::cli
