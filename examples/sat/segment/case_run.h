// One case of sat segment, from its scan to its finished folder.
// Knows one case at a time; segment.cpp goes through them all.
#pragma once

#include <functional>
#include <string>

#include "examples/sat/command_line/command_line.h"
#include "examples/sat/output/progress.h"
#include "examples/sat/segment/case_place.h"
#include "examples/sat/segment/case_result.h"
#include "examples/sat/segment/resume.h"

namespace sat::cli {

/// What became of a case.
struct CaseOutcome {
  std::string folder;                // where its result lies
  bool skipped = false;              // it was finished before
  std::string replaced;              // why an earlier result gave way to this one; empty where none did
  std::vector<std::string> changed;  // files that somebody changed and that were let alone
  Json manifest;                     // null when skipped
};

/// Finds the case's folder, computes what is missing there, and puts it in its place. `made` tells which folders this
/// run has written to: in these nothing is replaced. Throws Error and leaves all as it was when something is wrong, and
/// Cancelled when the user interrupts.
CaseOutcome run_case(const SegmentRequest& request, const Session& session, const Identity& identity, const Case& one,
                     const std::function<bool(const std::string&)>& made, ProgressView& view);

}  // namespace sat::cli
