// What a request still has to compute, given what its case's folder holds already.
// Masks of one scan, one model and the same settings add up; what a person changed is never written over unasked.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "examples/sat/segment/case_record.h"
#include "sat/io/words/json.h"

namespace sat::cli {

/// Everything that decides whether an earlier result is an answer to this request.
struct Question {
  Json scan;                         // scan_fingerprint()
  Json model, text;                  // identities, with a "path" that does not count
  Json settings;                     // all else that changes results
  std::vector<std::string> prompts;  // in the order asked for
  std::string mask_extension;        // ".nii.gz"
  bool probabilities = false, preview = false, image = false, verify = false;  // wanted beside masks
  bool overwrite = false;                                                      // whatever stands in the way may go
  bool strict = false;  // doubts about the scan are refused, those that an earlier run had too
  bool hashes = false;  // hold every file against its hash, not only its size
};

/// A structure of the case as it will be.
struct PlannedStructure {
  StoredStructure structure;
  bool computed = false;  // now; otherwise kept
};

struct Resume {
  std::vector<PlannedStructure> structures;  // earlier ones first and in their order, so that labels keep their values
  std::vector<std::string> prompts;          // of those computed now, in that order; none: the case is finished
  std::vector<std::string> changed;          // masks that somebody changed and that stay so, as paths from the folder
  bool writes_probabilities = false;         // of the computed ones; kept with them otherwise, where there are some
  std::string replaced;  // why an earlier result goes: "the scan has changed"; empty where none does
  /// What becomes part of the new folder as it is, as paths from the folder.
  std::vector<std::string> kept_files() const;
};

/// Throws Error, with what to do, when carrying on would lose something: a file that somebody changed, or masks that
/// this run was not asked for and that do not fit with those it was.
Resume plan_resume(const std::optional<CaseRecord>& record, const Question& question);

}  // namespace sat::cli
