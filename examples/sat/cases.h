// Which scans a run is about: files, folders, or SAT's own JSON lines, and the name of each case's folder.
// Reads names and requests, not scans.
#pragma once

#include <string>
#include <vector>

namespace sat::cli {

struct Case {
  std::string scan;                   // path of a .nii or .nii.gz
  std::vector<std::string> prompts;   // empty in a plain file's case until filled by the caller
  std::string modality, orientation;  // of a JSON line or filled by the caller; "ct", "mri", ...
  std::string dataset;                // of a JSON line
  std::string line;        // "requests.jsonl (line 3)" for a JSON line, empty for a scan named on the command line
  std::string error;       // what is wrong with a JSON line or a link; such a case fails when its turn comes
  std::string warning;     // about how a JSON line was understood
  std::string folder;      // plain name of the case's folder: of the scan's file, with a JSON line's dataset before it
  bool contested = false;  // another scan of this run has the same plain name, capitals aside
};

/// Scans of all inputs in order. A folder stands for all scans in it, sorted by name, hidden ones and those in folders
/// below left out; one that is no regular file, or a link to none, becomes a case with an error. A
/// .jsonl file holds one request a line: {"image", "label": [prompts], "modality", "dataset", "orientation_code"
/// (optional)}; a relative image lies beside that file or, where there is none, is seen from the working folder. A line
/// that is wrong becomes a case with an error. Throws Error for inputs that are neither, and when there is no scan at
/// all.
std::vector<Case> collect_cases(const std::vector<std::string>& inputs);

/// The name of a scan's case when another scan has, or may have, its plain name: with a number made from the scan's
/// path.
std::string distinct_folder(const Case& one);

/// A path that stays true wherever the program is started.
std::string absolute_path(const std::string& path);

}  // namespace sat::cli
