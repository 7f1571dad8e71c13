// Which scan is this? Its content, whatever it is called and wherever it lies.
// Knows files and hashes, not what is in a scan.
#pragma once

#include <string>

#include "sat/io/words/json.h"

namespace sat::cli {

/// What the system says of a file without reading it. The time of the last change of the inode is among it, which no
/// program can set: a file whose bytes were exchanged keeps neither that nor its inode, even if size and date are put
/// back.
struct FileStamp {
  int64_t bytes = 0, modified_ns = 0, changed_ns = 0, inode = 0;
  bool operator==(const FileStamp& other) const {
    return bytes == other.bytes && modified_ns == other.modified_ns && changed_ns == other.changed_ns &&
           inode == other.inode;
  }
};
/// Throws Error, with the system's reason, when there is no such file.
FileStamp stamp_of(const std::string& path);

/// {"path", "sha256", "files": [{"path", "bytes", "modified_ns", "changed_ns", "inode", "sha256"}]}: a pair has two
/// files, and the sha256 of the scan is that of its files' digests one after the other, or of the only file. Reads a
/// file only where `known`, an earlier fingerprint or null, has no entry of the same path and stamp. Throws Error for
/// what cannot be read, and for a file that changes meanwhile.
Json scan_fingerprint(const std::string& path, const Json* known = nullptr);

/// Throws Error when a file of the scan is no longer as the fingerprint has it.
void check_unchanged(const Json& fingerprint);

}  // namespace sat::cli
