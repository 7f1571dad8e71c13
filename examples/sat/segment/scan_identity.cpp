// Content hashes of scans, remembered in manifests by what the system says of each file.
#include "examples/sat/segment/scan_identity.h"

#include <sys/stat.h>

#include <cerrno>
#include <vector>

#include "examples/sat/cases.h"
#include "sat/io/files/hash.h"
#include "sat/io/files/posix.h"
#include "sat/io/nifti/nifti.h"

namespace sat::cli {

namespace {

int64_t nanoseconds(const timespec& time) { return int64_t(time.tv_sec) * 1000000000 + time.tv_nsec; }

Json to_json(const FileStamp& stamp) {
  Json json = Json::object().set("bytes", stamp.bytes).set("modified_ns", stamp.modified_ns);
  return json.set("changed_ns", stamp.changed_ns).set("inode", stamp.inode);
}

FileStamp stamp_from(const Json& json) {
  return {json["bytes"].integer(), json["modified_ns"].integer(), json["changed_ns"].integer(),
          json["inode"].integer()};
}

/// The digest that an earlier fingerprint holds for exactly this file, or "".
std::string known_digest(const Json* known, const std::string& path, const FileStamp& stamp) {
  if (!known) return "";
  for (const Json& file : (*known)["files"].items()) {
    if (file["path"].string() == path && stamp_from(file) == stamp) return file["sha256"].string();
  }
  return "";
}

}  // namespace

FileStamp stamp_of(const std::string& path) {
  struct stat status {};
  int failed = -1;
  do {
    failed = ::stat(path.c_str(), &status);
  } while (failed != 0 && errno == EINTR);
  SAT_CHECK(failed == 0, "cannot find ", path, ": ", system_reason(errno));
  return {int64_t(status.st_size), nanoseconds(status.st_mtim), nanoseconds(status.st_ctim), int64_t(status.st_ino)};
}

Json scan_fingerprint(const std::string& path, const Json* known) {
  Json files = Json::array();
  std::string digests;
  const std::vector<std::string> names = nifti_files(path);
  for (const std::string& name : names) {
    const std::string whole = absolute_path(name);
    const FileStamp stamp = stamp_of(name);
    std::string digest = known_digest(known, whole, stamp);
    if (digest.empty()) {
      digest = sha256_of_file(name);
      SAT_CHECK(stamp_of(name) == stamp, "the scan ", name, " changes while it is read");
    }
    digests += digest;
    Json file = Json::object().set("path", whole);
    const Json described = to_json(stamp);
    for (const Json::Member& member : described.members()) file.set(member.first, member.second);
    files.push(file.set("sha256", digest));
  }
  const std::string sha = files.size() == 1 ? digests : sha256(digests);
  return Json::object().set("path", absolute_path(names[0])).set("sha256", sha).set("files", std::move(files));
}

void check_unchanged(const Json& fingerprint) {
  for (const Json& file : fingerprint["files"].items()) {
    const std::string& path = file["path"].string();
    SAT_CHECK(stamp_of(path) == stamp_from(file), "the scan ", path, " changes while it is read");
  }
}

}  // namespace sat::cli
