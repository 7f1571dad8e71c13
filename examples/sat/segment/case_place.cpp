// The plain name where that is the scan's own, else the one with a number.
#include "examples/sat/segment/case_place.h"

#include <filesystem>

#include "sat/tensor/error.h"

namespace sat::cli {

namespace {

namespace fs = std::filesystem;

const Json* known_scan(const std::optional<CaseRecord>& record) {
  return record && record->current ? &record->manifest["scan"] : nullptr;
}

bool is_owner(const CaseRecord& record, const Json& scan) {
  const Json& known = record.manifest["scan"];
  const std::string& path = known["path"].string();
  if (path == scan["path"].string()) return true;
  std::error_code error;
  return known["sha256"].string() == scan["sha256"].string() && !fs::exists(path, error) && !error;
}

bool has_manifest(const std::string& folder) {
  std::error_code error;
  return fs::exists(folder + "/" + kManifestName, error);
}

}  // namespace

CasePlace find_place(const std::string& output, const Case& one) {
  CasePlace place;
  place.name = distinct_folder(one);
  place.record = read_record(output + "/" + place.name);
  if (place.record) {
    place.scan = scan_fingerprint(one.scan, known_scan(place.record));
    SAT_CHECK(is_owner(*place.record, place.scan), output, "/", place.name, " holds the masks of another scan, ",
              place.record->manifest["scan"]["path"].string(), "; choose another output folder");
    return place;
  }
  const std::string plain = output + "/" + one.folder;
  if (one.contested && !has_manifest(plain)) {
    place.scan = scan_fingerprint(one.scan);
    return place;
  }
  std::optional<CaseRecord> record = read_record(plain);
  place.scan = scan_fingerprint(one.scan, known_scan(record));
  if (record && !is_owner(*record, place.scan)) return place;
  place.name = one.folder;
  place.record = std::move(record);
  return place;
}

}  // namespace sat::cli
