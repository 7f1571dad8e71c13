// The directory of a zip archive whose members are stored as they are, the container of PyTorch's files.
// Finds and checks members in memory; does not inflate, decrypt, write or extract.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "sat/tensor/error.h"

namespace sat {

/// One stored member: its bytes lie at `offset` of the archive.
struct ZipMember {
  int64_t offset = 0;
  int64_t size = 0;
  uint32_t crc = 0;
};

/// The members of an archive, zip64 understood. Throws Error, its message beginning with `source`, unless the central
/// directory and every local header agree, no two members overlap, no name comes twice, and all are stored and plain.
class ZipArchive {
 public:
  ZipArchive(const uint8_t* bytes, int64_t count, std::string source);

  const std::map<std::string, ZipMember>& members() const { return members_; }
  const ZipMember* find(const std::string& name) const;  // null when absent
  std::string_view bytes_of(const ZipMember& member) const;
  /// Throws Error unless the member's bytes have the checksum that the directory claims.
  void check_crc(const std::string& name, const ZipMember& member) const;

 private:
  const uint8_t* bytes_;
  std::string source_;
  std::map<std::string, ZipMember> members_;
};

/// Do these bytes start as a zip archive with at least one member does?
bool is_zip(const uint8_t* bytes, int64_t count);

}  // namespace sat
