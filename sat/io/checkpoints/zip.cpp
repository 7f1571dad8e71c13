// Reading a zip archive's directory. Field offsets are those of the format's description (PKWARE APPNOTE 4.3).
#include "sat/io/checkpoints/zip.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "sat/io/files/file.h"
#include "sat/io/words/text.h"

namespace sat {

namespace {

constexpr uint32_t kLocalHeader = 0x04034b50, kDirectoryEntry = 0x02014b50, kDirectoryEnd = 0x06054b50;
constexpr uint32_t kDirectoryEnd64 = 0x06064b50, kLocator64 = 0x07064b50;
constexpr int64_t kLocalSize = 30, kEntrySize = 46, kEndSize = 22, kEnd64Size = 56, kLocator64Size = 20;
constexpr uint64_t kInExtra32 = 0xFFFFFFFF, kInExtra16 = 0xFFFF;  // "see the zip64 field"
constexpr uint16_t kZip64Extra = 1;
constexpr uint16_t kSizesFollowData = 1 << 3, kUtf8Name = 1 << 11;

/// Where the central directory lies, and how many entries it claims.
struct Directory {
  uint64_t entries = 0, size = 0, offset = 0;
  int64_t end = 0;  // where the record that follows it begins
};

/// The sizes of one member as a header gives them, after its zip64 field.
struct Sizes {
  uint64_t unpacked = 0, packed = 0, local_offset = 0;
};

struct Located {
  int64_t first = 0, end = 0;  // local header and data
  std::string name;
};

class Reader {
 public:
  Reader(const OpenFile& file, int64_t max_bytes, int64_t max_members)
      : file_(file), count_(file.size()), max_bytes_(max_bytes), max_members_(max_members) {}

  std::map<std::string, ZipMember> read() {
    const Directory directory = find_directory();
    std::map<std::string, ZipMember> members;
    std::vector<Located> located;
    auto at = int64_t(directory.offset);
    for (uint64_t i = 0; i < directory.entries; ++i) {
      Located place;
      const ZipMember member = read_entry(at, directory, place);
      check(members.emplace(place.name, member).second, "member ", quoted(place.name), " appears twice");
      located.push_back(std::move(place));
    }
    check(at == directory.end, "the central directory ends at byte ", at, ", not at ", directory.end);
    check_apart(located);
    return members;
  }

 private:
  template <class... Parts>
  void check(bool condition, const Parts&... parts) const {
    SAT_CHECK(condition, file_.path(), ": zip archive: ", parts...);
  }

  template <class T>
  T get(int64_t at) const {
    check(at >= 0 && at <= count_ - int64_t(sizeof(T)), "a field at byte ", at, " lies outside the file's ", count_);
    constexpr int64_t kWindow = 4096;  // fields stand close together: most lie in what was read for the one before
    if (at < window_at_ || at + int64_t(sizeof(T)) > window_at_ + int64_t(window_.size())) {
      window_.resize(size_t(std::min(kWindow, count_ - at)));
      window_at_ = at;
      file_.read(at, window_.data(), int64_t(window_.size()));
    }
    T value;
    std::memcpy(&value, window_.data() + (at - window_at_), sizeof value);
    return value;
  }

  std::string text(int64_t at, int64_t length) const {
    check(at >= 0 && at <= count_ && length <= count_ - at, "a name at byte ", at, " of ", length,
          " bytes leaves the file's ", count_);
    return file_.text(at, length);
  }

  int64_t find_end() const {
    const int64_t first = std::max<int64_t>(0, count_ - kEndSize - 0xFFFF);
    const std::string tail = file_.text(first, count_ - first);
    for (int64_t at = count_ - kEndSize; at >= first; --at) {
      if (std::memcmp(tail.data() + (at - first), &kDirectoryEnd, sizeof kDirectoryEnd) != 0) continue;
      if (get<uint16_t>(at + 20) == count_ - kEndSize - at) return at;
    }
    fail(file_.path(), ": zip archive: no end of central directory: the file is cut off, or bytes follow it");
  }

  Directory find_directory() const {
    const int64_t end = find_end();
    check(get<uint16_t>(end + 4) == 0 && get<uint16_t>(end + 6) == 0, "split over several files");
    const uint64_t entries = get<uint16_t>(end + 10), size = get<uint32_t>(end + 12), offset = get<uint32_t>(end + 16);
    check(get<uint16_t>(end + 8) == entries, "split over several files");
    Directory directory{entries, size, offset, end};
    const int64_t locator = end - kLocator64Size;
    const bool has64 = locator >= 0 && get<uint32_t>(locator) == kLocator64;
    if (has64) {
      directory = read_end64(locator);
      check((entries == kInExtra16 || entries == directory.entries) && (size == kInExtra32 || size == directory.size) &&
                (offset == kInExtra32 || offset == directory.offset),
            "its two ends of central directory disagree");
    } else {
      check(entries != kInExtra16 && size != kInExtra32 && offset != kInExtra32, "the zip64 record is missing");
    }
    check(directory.offset <= uint64_t(directory.end) && directory.size == uint64_t(directory.end) - directory.offset,
          "a central directory of ", directory.size, " bytes at ", directory.offset, " does not end at ",
          directory.end);
    check(directory.size <= uint64_t(max_bytes_), "a central directory of ", directory.size, " bytes, at most ",
          max_bytes_, " are taken");
    check(directory.entries <= directory.size / kEntrySize, directory.entries, " members do not fit a directory of ",
          directory.size, " bytes");
    check(directory.entries <= uint64_t(max_members_), directory.entries, " members, at most ", max_members_,
          " are taken");
    return directory;
  }

  Directory read_end64(int64_t locator) const {
    const auto at = get<uint64_t>(locator + 8);
    check(locator >= kEnd64Size && at <= uint64_t(locator - kEnd64Size), "the zip64 record at ", at,
          " lies behind its locator at ", locator);
    const auto end = int64_t(at);
    check(get<uint32_t>(end) == kDirectoryEnd64, "no zip64 record at byte ", at);
    check(get<uint64_t>(end + 4) == uint64_t(locator - end - 12), "the zip64 record's length is wrong");
    check(get<uint32_t>(end + 16) == 0 && get<uint32_t>(end + 20) == 0 && get<uint32_t>(locator + 4) == 0 &&
              get<uint64_t>(end + 24) == get<uint64_t>(end + 32),
          "split over several files");
    return {get<uint64_t>(end + 32), get<uint64_t>(end + 40), get<uint64_t>(end + 48), end};
  }

  /// Replaces the fields that say "see the zip64 field", in the order in which that field holds them.
  void read_extra(int64_t at, int64_t length, std::initializer_list<uint64_t*> fields) const {
    const int64_t end = at + length;
    check(end <= count_, "an extra field at byte ", at, " leaves the file");
    while (at < end) {
      check(end - at >= 4 && get<uint16_t>(at + 2) <= end - at - 4, "an extra field at byte ", at, " is cut off");
      const int64_t next = at + 4 + get<uint16_t>(at + 2);
      if (get<uint16_t>(at) == kZip64Extra) {
        at += 4;
        for (uint64_t* field : fields) {
          if (*field != kInExtra32) continue;
          check(next - at >= 8, "a zip64 field is too short");
          *field = get<uint64_t>(at);
          at += 8;
        }
        return;
      }
      at = next;
    }
  }

  ZipMember read_entry(int64_t& at, const Directory& directory, Located& place) const {
    check(directory.end - at >= kEntrySize && get<uint32_t>(at) == kDirectoryEntry, "no directory entry at byte ", at);
    const auto flags = get<uint16_t>(at + 8), method = get<uint16_t>(at + 10);
    const auto crc = get<uint32_t>(at + 16);
    Sizes sizes{get<uint32_t>(at + 24), get<uint32_t>(at + 20), get<uint32_t>(at + 42)};
    const int64_t name_length = get<uint16_t>(at + 28), extra_length = get<uint16_t>(at + 30);
    const int64_t next = at + kEntrySize + name_length + extra_length + get<uint16_t>(at + 32);
    check(next <= directory.end, "the directory entry at byte ", at, " leaves the directory");
    place.name = text(at + kEntrySize, name_length);
    const std::string shown = quoted(place.name);
    check(is_utf8(place.name) && place.name.find('\0') == std::string::npos, "member name ", shown, " is not UTF-8");
    read_extra(at + kEntrySize + name_length, extra_length, {&sizes.unpacked, &sizes.packed, &sizes.local_offset});
    check((flags & ~(kSizesFollowData | kUtf8Name)) == 0, "member ", shown, " is encrypted or of a kind (flags ", flags,
          ") that is not supported");
    check(method == 0, "member ", shown, " is compressed (method ", method, "); only stored members are supported");
    check(sizes.packed == sizes.unpacked, "member ", shown, " is stored, but its sizes ", sizes.packed, " and ",
          sizes.unpacked, " differ");
    at = next;
    return locate(sizes, flags, crc, directory, place);
  }

  ZipMember locate(const Sizes& sizes, uint16_t flags, uint32_t crc, const Directory& directory, Located& place) const {
    const std::string shown = quoted(place.name);
    check(directory.offset >= uint64_t(kLocalSize) && sizes.local_offset <= directory.offset - uint64_t(kLocalSize),
          "member ", shown, " at byte ", sizes.local_offset, " lies outside the archive's data");
    place.first = int64_t(sizes.local_offset);
    check(get<uint32_t>(place.first) == kLocalHeader, "member ", shown, " has no local header at byte ", place.first);
    const int64_t name_length = get<uint16_t>(place.first + 26), extra_length = get<uint16_t>(place.first + 28);
    Sizes local{get<uint32_t>(place.first + 22), get<uint32_t>(place.first + 18), 0};
    read_extra(place.first + kLocalSize + name_length, extra_length, {&local.unpacked, &local.packed});
    const bool sizes_later = (flags & kSizesFollowData) != 0 && local.unpacked == 0 && local.packed == 0;
    const bool crc_later = (flags & kSizesFollowData) != 0 && get<uint32_t>(place.first + 14) == 0;
    check(text(place.first + kLocalSize, name_length) == place.name && get<uint16_t>(place.first + 6) == flags &&
              get<uint16_t>(place.first + 8) == 0 &&
              (sizes_later || (local.unpacked == sizes.unpacked && local.packed == sizes.packed)) &&
              (crc_later || get<uint32_t>(place.first + 14) == crc),
          "the local header of member ", shown, " disagrees with the central directory");
    const int64_t data = place.first + kLocalSize + name_length + extra_length;
    check(uint64_t(data) <= directory.offset && sizes.unpacked <= directory.offset - uint64_t(data), "member ", shown,
          " of ", sizes.unpacked, " bytes at ", data, " reaches past the archive's data, which ends at ",
          directory.offset);
    place.end = data + int64_t(sizes.unpacked);
    return {data, int64_t(sizes.unpacked), crc};
  }

  void check_apart(std::vector<Located>& located) const {
    std::sort(located.begin(), located.end(), [](const Located& a, const Located& b) { return a.first < b.first; });
    for (size_t i = 1; i < located.size(); ++i) {
      check(located[i - 1].end <= located[i].first, "members ", quoted(located[i - 1].name), " and ",
            quoted(located[i].name), " overlap");
    }
  }

  const OpenFile& file_;
  int64_t count_, max_bytes_, max_members_;
  mutable std::string window_;  // the last bytes read for a field
  mutable int64_t window_at_ = 0;
};

}  // namespace

ZipArchive::ZipArchive(std::shared_ptr<const OpenFile> file, int64_t max_bytes, int64_t max_members)
    : file_(std::move(file)), members_(Reader(*file_, max_bytes, max_members).read()) {}

const ZipMember* ZipArchive::find(const std::string& name) const {
  const auto found = members_.find(name);
  return found == members_.end() ? nullptr : &found->second;
}

std::string ZipArchive::bytes_of(const ZipMember& member) const { return file_->text(member.offset, member.size); }

void ZipArchive::check_crc(const std::string& name, const ZipMember& member) const {
  constexpr int64_t kStep = 1 << 18;  // stays in the cache between reading and summing
  std::string piece(size_t(std::min(kStep, member.size)), '\0');
  uint32_t crc = 0;
  for (int64_t done = 0; done < member.size; done += kStep) {
    const int64_t count = std::min(kStep, member.size - done);
    file_->read(member.offset + done, piece.data(), count);
    crc = crc32(piece.data(), count, crc);
  }
  SAT_CHECK(crc == member.crc, file_->path(), ": zip archive: member ", quoted(name), " is damaged: its checksum is ",
            crc, ", the directory says ", member.crc);
}

bool is_zip(const uint8_t* bytes, int64_t count) { return count >= 4 && std::memcmp(bytes, "PK\x03\x04", 4) == 0; }

}  // namespace sat
