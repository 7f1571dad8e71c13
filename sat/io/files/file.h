// Private. Bytes on disk: reading them whole or in order, replacing a file in one step, and the deflate family of
// formats. Knows no image format; the only place that sees zlib.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sat/io/deflate/run_block.h"
#include "sat/io/files/open_file.h"
#include "sat/tensor/error.h"

namespace sat {

/// A regular file read from its start to its end, piece by piece, so that another process that shortens it meanwhile
/// causes an Error and not a signal. Missing, empty and unreadable files, folders, pipes and devices throw Error.
class FileReader {
 public:
  explicit FileReader(const std::string& path) : file_(path) {}

  /// Reads the next min(count, what is left) bytes into `out` and returns their number; throws Error when the file has
  /// become shorter than it was when it was opened.
  int64_t read(void* out, int64_t count);
  void skip(int64_t count);  // no further than the end

  int64_t size() const { return file_.size(); }
  int64_t left() const { return file_.size() - at_; }
  const std::string& path() const { return file_.path(); }

 private:
  OpenFile file_;
  int64_t at_ = 0;
};

/// The bytes of a regular file, possibly none; one larger than max_bytes throws Error before it is read.
std::string read_file(const std::string& path, int64_t max_bytes);

/// A file that appears at its path complete or not at all: bytes go to a temporary file in the same folder, and
/// commit() makes them durable and renames. An existing regular file is replaced (a symbolic link itself, not what it
/// points to); anything else at the path is refused. Without commit() nothing is left behind.
class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* bytes, int64_t count);
  void write(const std::string& bytes) { write(bytes.data(), int64_t(bytes.size())); }
  void commit();  // once, after the last write
  const std::string& path() const { return path_; }

 private:
  void flush();
  void write_through(const char* bytes, int64_t count);

  std::string path_, folder_, temporary_, pending_;
  int descriptor_ = -1;
};

void write_file_atomically(const std::string& path, const std::string& bytes);

/// Removes temporary and scratch files that killed writers left in a folder. Those of living writers carry a lock and
/// stay; where the file system has no locks, all stay.
void remove_temporary_files(const std::string& folder);

/// Do these bytes start as a gzip member does?
bool is_gzip(const uint8_t* bytes, int64_t count);

/// Deflate never expands further than this: two bits for 258 bytes. So it bounds what a compressed file can hold.
inline constexpr int64_t kMaxInflation = 1032;

/// Inflates gzip members, piece by piece, so that what a stream claims to hold never decides an allocation. Throws
/// Error on a bad header, damaged data, a wrong checksum or length, and truncation. Zero padding after a member means
/// nothing; other bytes there are left alone, as zlib's own reader and nibabel leave them, and can be asked for.
class GzipReader {
 public:
  /// Gives the next bytes of a stream, at most `room`; fewer only at its end.
  using Pull = std::function<int64_t(void* out, int64_t room)>;

  /// `count` is the length of the whole stream, `name` the file's, for messages.
  GzipReader(Pull pull, int64_t count, const std::string& name);
  GzipReader(const uint8_t* bytes, int64_t count, const std::string& name);  // which must outlive the reader
  ~GzipReader();
  GzipReader(const GzipReader&) = delete;
  GzipReader& operator=(const GzipReader&) = delete;

  /// Inflates up to `count` bytes into `out`; fewer are returned only at the end of the last member.
  int64_t read(void* out, int64_t count);
  /// Reads on to the end, so that every checksum is seen; throws if more than `max_extra` bytes were still to come.
  void finish(int64_t max_extra);
  /// Once the end was reached: how many bytes follow the last member, zero padding before them and in them included; 0
  /// where there is only padding.
  int64_t garbage() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// What deflate looks for: any earlier bytes, or only the byte before. On masks and label maps of one byte a voxel runs
/// make files as small as level 6 does, in a small part of its time.
enum class Repeats : uint8_t { any, runs };

/// Writes one gzip member. The result depends on the bytes, the level and where chunks were ended alone (no time stamp,
/// no name), neither on how bytes were split over write() nor on the number of threads: every 256 KiB are deflated
/// apart, on the context's threads.
class GzipWriter {
 public:
  /// Puts the runs of bytes first .. first + count into an empty block, and returns their CRC-32.
  using Runs = std::function<uint32_t(int64_t first, int64_t count, RunBlock& block)>;

  explicit GzipWriter(AtomicFile& file, int level = 6, Repeats repeats = Repeats::any);  // 1 fastest to 9 smallest

  void write(const void* bytes, int64_t count);
  void end_chunk();  // what follows starts one of its own
  /// As end_chunk(), write() of `count` bytes and end_chunk() where runs are looked for, without the bytes. `runs` is
  /// called once for each kChunk bytes and for what is left, by several threads at once.
  void write_runs(int64_t count, const Runs& runs);
  void finish();  // once, after the last write; committing the file is the caller's

  static constexpr int64_t kChunk = 1 << 18;  // large enough that starting afresh costs under 1 %

 private:
  /// Deflates chunks of `count` bytes and appends them: pack(first byte, bytes, crc) gives one.
  void append_chunks(int64_t count, const std::function<std::string(int64_t, int64_t, uint32_t&)>& pack);

  AtomicFile& file_;
  int level_;
  Repeats repeats_;
  std::vector<uint8_t> pending_;
  uint32_t crc_ = 0;
  uint32_t length_ = 0;  // modulo 2^32, as the format has it
};

/// A zlib stream (RFC 1950) of the bytes, as PNG wants it.
std::string zlib_compress(const std::string& bytes, int level = 6);
/// CRC-32 as in gzip and PNG; `crc` continues an earlier part.
uint32_t crc32(const void* bytes, int64_t count, uint32_t crc = 0);

/// Does the path end with this extension (".nii.gz"), in small or capital ASCII letters, after a name of its own?
bool has_extension(const std::string& path, const std::string& extension);
/// The folder of a path: "a" of "a/b", "/" of "/b", "." of "b".
std::string folder_of(const std::string& path);

}  // namespace sat
