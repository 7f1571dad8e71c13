// Reading manifests, and holding files against them.
#include "examples/sat/segment/case_record.h"

#include <algorithm>
#include <set>

#include "examples/sat/segment/case_folder.h"
#include "sat/io/files/file.h"
#include "sat/io/files/hash.h"
#include "sat/tensor/parallel.h"

namespace sat::cli {

namespace {

constexpr int64_t kLargestManifest = int64_t(64) << 20;

std::map<std::string, FileStamp> stamps_below(const std::string& folder) {
  std::map<std::string, FileStamp> stamps;
  for (const std::string& file : files_below(folder)) stamps[file] = stamp_of(folder + "/" + file);
  return stamps;
}

/// Fills in what a manifest of this program's format says. Throws Error when it lacks something.
void read_manifest(CaseRecord& record) {
  const Json& manifest = record.manifest;
  for (const auto& [name, file] : manifest["files"].members()) {
    record.files[name] = {file["bytes"].integer(), file["sha256"].string()};
  }
  for (const Json& each : manifest["structures"].items()) {
    const Json& probabilities = each["probabilities"];
    record.structures.push_back({each["name"].string(), each["mask"].string(),
                                 probabilities.is_null() ? "" : probabilities.string(), each["verified"].boolean()});
  }
  manifest["scan"]["files"].items();
  manifest["scan"]["path"].string();
  record.current = true;
}

/// The files that a manifest of any version names. A manifest that cannot be read names none.
std::set<std::string> named_files(const CaseRecord& record) {
  std::set<std::string> names{kManifestName};
  try {
    const Json& files = record.manifest["files"];
    if (files.kind() == Json::Kind::object) {
      for (const auto& [name, file] : files.members()) names.insert(name);
    } else {
      for (const std::string& name : files.strings()) names.insert(name);
    }
  } catch (const Error&) {
    return names;
  }
  return names;
}

}  // namespace

std::optional<CaseRecord> read_record(const std::string& folder) {
  if (place_at(folder) != Place::folder) return std::nullopt;
  CaseRecord record;
  record.folder = folder;
  record.stamps = stamps_below(folder);
  const std::string path = folder + "/" + kManifestName;
  SAT_CHECK(record.stamps.count(kManifestName), folder,
            " holds files that are no result of sat; move them away or choose another output folder");
  record.manifest = Json::parse(read_file(path, kLargestManifest), path);
  const std::set<std::string> named = named_files(record);
  for (const auto& [file, stamp] : record.stamps) {
    SAT_CHECK(named.count(file), folder, "/", file, " was not written by sat; move it away first");
  }
  try {
    if (record.manifest["format"].string() == kManifestFormat) read_manifest(record);
  } catch (const Error& error) {
    fail(path, " is damaged (", error.what(), "); move the folder away");
  }
  return record;
}

Json file_list(const std::string& folder, const std::vector<std::string>& files) {
  std::vector<StoredFile> stored(files.size());
  parallel_for(int64_t(files.size()), 1, [&](int64_t first, int64_t last) {
    for (auto i = size_t(first); i < size_t(last); ++i) {
      const std::string path = folder + "/" + files[i];
      stored[i] = {stamp_of(path).bytes, sha256_of_file(path)};
    }
  });
  Json list = Json::object();
  for (size_t i = 0; i < files.size(); ++i) {
    list.set(files[i], Json::object().set("bytes", stored[i].bytes).set("sha256", stored[i].sha256));
  }
  return list;
}

Condition condition_of(const CaseRecord& record, const std::string& file, bool hashes) {
  const auto stored = record.files.find(file);
  const auto stamp = record.stamps.find(file);
  if (stored == record.files.end() || stamp == record.stamps.end()) return Condition::missing;
  if (stamp->second.bytes != stored->second.bytes) return Condition::other;
  if (hashes && sha256_of_file(record.folder + "/" + file) != stored->second.sha256) return Condition::other;
  return Condition::intact;
}

void check_unchanged(const std::string& folder, const std::optional<CaseRecord>& record) {
  std::map<std::string, FileStamp> now;
  if (place_at(folder) == Place::folder) now = stamps_below(folder);
  SAT_CHECK(now == (record ? record->stamps : std::map<std::string, FileStamp>{}), folder,
            " was changed while this run worked, so nothing in it was replaced; give the command again");
}

}  // namespace sat::cli
