// What an earlier run left in a case's folder: its manifest, and whether the files are still as it wrote them.
// Knows manifests and files; what a new request makes of them is resume.h's.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "examples/sat/segment/scan_identity.h"
#include "sat/io/words/json.h"

namespace sat::cli {

constexpr const char* kManifestName = "manifest.json";
constexpr const char* kManifestFormat = "sat-manifest-2";

/// A file as the manifest has it.
struct StoredFile {
  int64_t bytes = 0;
  std::string sha256;
};

/// A structure of the case. Paths are from the case's folder.
struct StoredStructure {
  std::string name, mask, probabilities;  // no probabilities: empty
  bool verified = false;                  // by the run that made it (--verify)
};

struct CaseRecord {
  std::string folder;
  Json manifest;
  bool current = false;                     // of this program's format: what follows is known
  std::map<std::string, StoredFile> files;  // all but the manifest
  std::vector<StoredStructure> structures;
  std::map<std::string, FileStamp> stamps;  // of all files in the folder when it was looked at
};

/// What the folder holds; none when there is no such folder or it is empty. Throws Error when it holds files that no
/// manifest names: they belong to somebody, and a new result would take their place.
std::optional<CaseRecord> read_record(const std::string& folder);

/// {"bytes", "sha256"} of each file in a folder, hashed side by side.
Json file_list(const std::string& folder, const std::vector<std::string>& files);

enum class Condition : uint8_t { intact, missing, other };
/// Is a file of the record as it was written? By its size, and with `hashes` by its bytes.
Condition condition_of(const CaseRecord& record, const std::string& file, bool hashes);

/// Throws Error when the folder is not as it was when the record was read; `record` none: when there is something now.
void check_unchanged(const std::string& folder, const std::optional<CaseRecord>& record);

}  // namespace sat::cli
