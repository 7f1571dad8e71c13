// Private. The directory of a zip archive whose members are stored as they are, the container of PyTorch's files.
// Finds and checks members of an open file; does not inflate, decrypt, write or extract.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "sat/io/files/open_file.h"

namespace sat {

/// One stored member: its bytes lie at `offset` of the archive.
struct ZipMember {
  int64_t offset = 0;
  int64_t size = 0;
  uint32_t crc = 0;
};

/// The members of an archive, zip64 understood. Throws Error, its message beginning with the file's path, unless the
/// central directory and every local header agree, no two members overlap, no name comes twice, and all are stored and
/// plain; and for a directory of more than `max_bytes`, or of more than `max_members`.
class ZipArchive {
 public:
  ZipArchive(std::shared_ptr<const OpenFile> file, int64_t max_bytes, int64_t max_members);

  const std::map<std::string, ZipMember>& members() const { return members_; }
  const ZipMember* find(const std::string& name) const;  // null when absent
  std::string bytes_of(const ZipMember& member) const;
  /// Throws Error unless the member's bytes have the checksum that the directory claims.
  void check_crc(const std::string& name, const ZipMember& member) const;

 private:
  std::shared_ptr<const OpenFile> file_;
  std::map<std::string, ZipMember> members_;
};

/// Do these bytes start as a zip archive with at least one member does?
bool is_zip(const uint8_t* bytes, int64_t count);

}  // namespace sat
