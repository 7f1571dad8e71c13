// Files through POSIX calls, and deflate through zlib.
#include "sat/io/files/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <random>
#include <utility>

#include "sat/io/files/folder.h"
#include "sat/io/files/posix.h"
#include "sat/tensor/context.h"
#include "sat/tensor/parallel.h"

namespace sat {

namespace {

constexpr int64_t kWriteBuffer = 1 << 16;
constexpr int64_t kReadBuffer = 1 << 17;  // of compressed bytes
constexpr int64_t kChunksAtOnce = 16;     // of a gzip member, deflated together
constexpr int64_t kZlibStep = 1 << 30;    // zlib counts in 32 bits
constexpr int64_t kSystemStep = 1 << 25;  // of a system call: bytes that move before the user is asked again

/// A name that no other writer of this folder uses, of a length that fits wherever the target's name does.
std::string temporary_name(const std::string& folder) {
  std::random_device random;
  char name[64];
  std::snprintf(name, sizeof name, "/.sat-%08x%08x.tmp", unsigned(random()), unsigned(random()));
  return folder + name;
}

/// Is this a name of temporary_name(), or of a scratch file (scratch_file.cpp)?
bool is_temporary_name(const std::string& name) {
  constexpr size_t kDigits = 16;
  if (name.rfind(".sat-scratch-", 0) == 0) return true;
  return name.size() == 5 + kDigits + 4 && name.rfind(".sat-", 0) == 0 && name.compare(5 + kDigits, 4, ".tmp") == 0 &&
         name.find_first_not_of("0123456789abcdef", 5) == 5 + kDigits;
}

/// One chunk as raw deflate blocks that end on a byte boundary.
std::string deflate_chunk(const uint8_t* bytes, int64_t count, int level) {
  z_stream stream{};
  SAT_CHECK(deflateInit2(&stream, level, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY) == Z_OK,
            "gzip: cannot start at level ", level);
  const std::unique_ptr<z_stream, int (*)(z_stream*)> ended(&stream, deflateEnd);
  std::string out(size_t(deflateBound(&stream, uLong(count))) + 16, '\0');
  stream.next_in = const_cast<Bytef*>(bytes);
  stream.avail_in = uInt(count);
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = uInt(out.size());
  const int status = deflate(&stream, Z_SYNC_FLUSH);
  const bool complete = stream.avail_in == 0 && stream.avail_out > 0 && status == Z_OK;
  out.resize(out.size() - stream.avail_out);
  SAT_CHECK(complete, "gzip: deflate stopped with status ", status);
  return out;
}

bool all_zero(const uint8_t* bytes, int64_t count) {
  return count == 0 || (bytes[0] == 0 && std::memcmp(bytes, bytes + 1, size_t(count - 1)) == 0);
}

void append_u32(std::string& text, uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) text += char(value >> shift & 255);
}

}  // namespace

int64_t FileReader::read(void* out, int64_t count) {
  const int64_t wanted = std::min(count, left());
  file_.read(at_, out, wanted);
  at_ += wanted;
  return wanted;
}

void FileReader::skip(int64_t count) { at_ += std::min(count, left()); }

std::string read_file(const std::string& path, int64_t max_bytes) {
  int64_t size = 0;
  const Descriptor file = open_regular(path, size);
  SAT_CHECK(size <= max_bytes, "cannot read ", path, ": it has ", size, " bytes, at most ", max_bytes, " fit here");
  std::string bytes(size_t(size), '\0');
  int64_t done = 0;
  while (done < size) {
    const ssize_t got = ::read(file, &bytes[size_t(done)], size_t(std::min(size - done, kSystemStep)));
    if (got < 0 && errno == EINTR) continue;
    SAT_CHECK(got >= 0, "cannot read ", path, ": ", system_reason(errno));
    SAT_CHECK(got > 0, "cannot read ", path, ": it shrank from ", size, " to ", done, " bytes while being read");
    done += got;
  }
  return bytes;
}

AtomicFile::AtomicFile(const std::string& path) : path_(path) {
  check_path(path);
  struct stat status {};
  if (::lstat(path.c_str(), &status) == 0) {
    SAT_CHECK(S_ISREG(status.st_mode) || S_ISLNK(status.st_mode), "cannot write ", path, ": it exists and is ",
              S_ISDIR(status.st_mode) ? "a folder" : "not a regular file");
  }
  SAT_CHECK(path.back() != '/', "cannot write ", path, ": it names a folder");
  folder_ = folder_of(path);
  for (;;) {
    temporary_ = temporary_name(folder_);
    Descriptor file = open_descriptor(temporary_, O_WRONLY | O_CREAT | O_EXCL);
    SAT_CHECK(file || errno == EEXIST, "cannot write ", path, ": ", system_reason(errno));
    // The lock tells remove_temporary_files() that somebody is at work; between these two lines it could not know.
    if (!file || lock_descriptor(file, temporary_) == Lock::busy) continue;
    SAT_CHECK(::fstat(file, &status) == 0, "cannot write ", path, ": ", system_reason(errno));
    if (status.st_nlink == 0) continue;
    descriptor_ = file.release();
    return;
  }
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_.c_str());
}

void AtomicFile::write(const void* bytes, int64_t count) {
  SAT_CHECK(descriptor_ >= 0, "cannot write ", path_, ": it was committed already");
  const char* at = static_cast<const char*>(bytes);
  if (int64_t(pending_.size()) + count > kWriteBuffer) flush();
  if (count >= kWriteBuffer) {
    write_through(at, count);
  } else if (count > 0) {
    pending_.append(at, size_t(count));
  }
}

void AtomicFile::flush() {
  write_through(pending_.data(), int64_t(pending_.size()));
  pending_.clear();
}

void AtomicFile::write_through(const char* bytes, int64_t count) {
  while (count > 0) {
    if (Context::current().cancelled()) throw Cancelled("cancelled");
    const ssize_t done = ::write(descriptor_, bytes, size_t(std::min(count, kSystemStep)));
    if (done < 0 && errno == EINTR) continue;
    SAT_CHECK(done >= 0, "cannot write ", path_, ": ", system_reason(errno));
    bytes += done;
    count -= done;
  }
}

void AtomicFile::commit() {
  SAT_CHECK(descriptor_ >= 0, "cannot write ", path_, ": it was committed already");
  flush();
  SAT_CHECK(sync_descriptor(descriptor_) == 0, "cannot write ", path_, ": ", system_reason(errno));
  SAT_CHECK(::rename(temporary_.c_str(), path_.c_str()) == 0, "cannot write ", path_, ": ", system_reason(errno));
  ::close(std::exchange(descriptor_, -1));
  sync_folder(folder_);  // the new name must outlive a power cut too
}

void write_file_atomically(const std::string& path, const std::string& bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

void remove_temporary_files(const std::string& folder) {
  for (const FolderEntry& entry : list_folder(folder)) {
    if (entry.kind != FolderEntry::Kind::file || !is_temporary_name(entry.name)) continue;
    const std::string path = folder + "/" + entry.name;
    const Descriptor file = open_descriptor(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    if (file && lock_descriptor(file, path) == Lock::held) ::unlink(path.c_str());
  }
}

bool is_gzip(const uint8_t* bytes, int64_t count) { return count >= 2 && bytes[0] == 0x1F && bytes[1] == 0x8B; }

struct GzipReader::State {
  z_stream stream{};
  Pull pull;
  int64_t count = 0;
  std::string name;
  std::vector<uint8_t> buffer = std::vector<uint8_t>(size_t{kReadBuffer});
  int64_t fed = 0;  // bytes pulled so far, of which stream.avail_in are not yet used
  int64_t members = 0, garbage = 0;
  bool inside = true;  // a member; otherwise at the end
  bool dry = false;    // nothing is left to pull

  int64_t used() const { return fed - int64_t(stream.avail_in); }

  /// Pulls more behind the bytes that are not yet used, which move to the front.
  void feed() {
    const auto kept = int64_t(stream.avail_in);
    if (kept > 0) std::memmove(buffer.data(), stream.next_in, size_t(kept));
    const int64_t got = pull(buffer.data() + kept, kReadBuffer - kept);
    dry = got < kReadBuffer - kept;
    fed += got;
    stream.next_in = buffer.data();
    stream.avail_in = uInt(kept + got);
  }

  /// After a member: another one, or padding and garbage to the end, which are counted.
  void next_member() {
    ++members;
    if (stream.avail_in < 2 && !dry) feed();
    inside = is_gzip(stream.next_in, int64_t(stream.avail_in));
    if (inside) {
      inflateReset(&stream);
      return;
    }
    const int64_t end = used();
    bool odd = false;
    while (!odd && stream.avail_in > 0) {
      const Bytef* last = stream.next_in + stream.avail_in;
      odd = std::any_of(static_cast<const Bytef*>(stream.next_in), last, [](Bytef byte) { return byte != 0; });
      stream.avail_in = 0;
      if (!dry) feed();
    }
    garbage = odd ? count - end : 0;
  }
};

GzipReader::GzipReader(Pull pull, int64_t count, const std::string& name) : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.pull = std::move(pull);
  s.count = count;
  s.name = name;
  s.feed();
  SAT_CHECK(is_gzip(s.stream.next_in, int64_t(s.stream.avail_in)), name, ": not gzip data");
  SAT_CHECK(inflateInit2(&s.stream, 15 + 16) == Z_OK, name, ": cannot start to decompress, out of memory");
}

GzipReader::GzipReader(const uint8_t* bytes, int64_t count, const std::string& name)
    : GzipReader(
          [bytes, count, at = int64_t(0)](void* out, int64_t room) mutable {
            const int64_t step = std::min(room, count - at);
            if (step > 0) std::memcpy(out, bytes + at, size_t(step));
            at += step;
            return step;
          },
          count, name) {}

GzipReader::~GzipReader() { inflateEnd(&state_->stream); }

int64_t GzipReader::read(void* out, int64_t count) {
  State& s = *state_;
  int64_t done = 0;
  while (done < count && s.inside) {
    if (s.stream.avail_in == 0 && !s.dry) s.feed();
    const int64_t room = std::min(count - done, kZlibStep);
    s.stream.next_out = static_cast<Bytef*>(out) + done;
    s.stream.avail_out = uInt(room);
    const int status = inflate(&s.stream, Z_NO_FLUSH);
    done += room - int64_t(s.stream.avail_out);
    if (status == Z_STREAM_END) {
      s.next_member();
      continue;
    }
    const char* what = s.stream.msg ? s.stream.msg : "damaged data";
    SAT_CHECK(status == Z_OK || status == Z_BUF_ERROR, s.name, ": gzip data is damaged at byte ", s.used(), " of ",
              s.count, ": ", status == Z_NEED_DICT ? "it needs a dictionary" : what);
    SAT_CHECK(s.stream.avail_out == 0 || s.stream.avail_in > 0 || !s.dry, s.name, ": gzip data ends too early, after ",
              s.count, " compressed bytes");
  }
  return done;
}

void GzipReader::finish(int64_t max_extra) {
  std::vector<uint8_t> rest(size_t(std::min<int64_t>(max_extra + 1, kWriteBuffer)));
  int64_t extra = 0;
  while (state_->inside) {
    extra += read(rest.data(), int64_t(rest.size()));
    SAT_CHECK(extra <= max_extra, state_->name, ": more than ", max_extra,
              " bytes follow the end of what it should hold");
  }
}

int64_t GzipReader::garbage() const { return state_->garbage; }

GzipWriter::GzipWriter(AtomicFile& file, int level, Repeats repeats) : file_(file), level_(level), repeats_(repeats) {
  SAT_CHECK(level >= 1 && level <= 9, "gzip: level is ", level, ", needs 1 to 9");
  // Deflate, no flags, time 0; the system is given as "unknown" (255) so that every machine writes the same bytes.
  file_.write("\x1F\x8B\x08\0\0\0\0\0\0\xFF", 10);
}

void GzipWriter::write(const void* bytes, int64_t count) {
  constexpr int64_t kMost = kChunk * kChunksAtOnce;
  const uint8_t* at = static_cast<const uint8_t*>(bytes);
  while (count > 0) {
    const int64_t room = std::min(count, kMost - int64_t(pending_.size()));
    pending_.insert(pending_.end(), at, at + room);
    at += room;
    count -= room;
    if (int64_t(pending_.size()) == kMost) end_chunk();
  }
}

void GzipWriter::end_chunk() {
  append_chunks(int64_t(pending_.size()), [&](int64_t first, int64_t count, uint32_t& crc) {
    const uint8_t* bytes = pending_.data() + first;
    crc = crc32(bytes, count);
    if (repeats_ == Repeats::any && !all_zero(bytes, count)) return deflate_chunk(bytes, count, level_);
    RunBlock block;
    block.add_bytes(bytes, count);
    return block.deflate();
  });
  pending_.clear();
}

void GzipWriter::write_runs(int64_t count, const Runs& runs) {
  end_chunk();
  append_chunks(count, [&](int64_t first, int64_t bytes, uint32_t& crc) {
    RunBlock block;
    crc = runs(first, bytes, block);
    return block.deflate();
  });
}

void GzipWriter::append_chunks(int64_t count, const std::function<std::string(int64_t, int64_t, uint32_t&)>& pack) {
  for (int64_t start = 0; start < count; start += kChunk * kChunksAtOnce) {
    const int64_t some = std::min(count - start, kChunk * kChunksAtOnce), chunks = divide_up(some, kChunk);
    std::vector<std::string> packed(static_cast<size_t>(chunks));
    std::vector<uint32_t> crcs(packed.size());
    parallel_for(chunks, 1, [&](int64_t i, int64_t) {
      packed[size_t(i)] = pack(start + i * kChunk, std::min(kChunk, some - i * kChunk), crcs[size_t(i)]);
    });
    for (int64_t i = 0; i < chunks; ++i) {
      const int64_t bytes = std::min(kChunk, some - i * kChunk);
      crc_ = uint32_t(::crc32_combine(crc_, crcs[size_t(i)], z_off_t(bytes)));
      length_ += uint32_t(bytes);
      file_.write(packed[size_t(i)]);
    }
  }
}

void GzipWriter::finish() {
  end_chunk();
  std::string trailer(kLastBlock, kLastBlockBytes);
  append_u32(trailer, crc_);
  append_u32(trailer, length_);
  file_.write(trailer);
}

std::string zlib_compress(const std::string& bytes, int level) {
  SAT_CHECK(int64_t(bytes.size()) <= kZlibStep, "zlib: ", bytes.size(), " bytes, at most ", kZlibStep, " fit");
  uLongf size = compressBound(uLong(bytes.size()));
  std::string out(size_t(size), '\0');
  const int status = compress2(reinterpret_cast<Bytef*>(out.data()), &size,
                               reinterpret_cast<const Bytef*>(bytes.data()), uLong(bytes.size()), level);
  SAT_CHECK(status == Z_OK, "zlib: level ", level, " failed with status ", status);
  out.resize(size_t(size));
  return out;
}

uint32_t crc32(const void* bytes, int64_t count, uint32_t crc) {
  if (count == 0) return crc;  // zlib takes a null pointer for "start afresh"
  return uint32_t(::crc32_z(crc, static_cast<const Bytef*>(bytes), size_t(count)));
}

bool has_extension(const std::string& path, const std::string& extension) {
  if (path.size() <= extension.size() || path[path.size() - extension.size() - 1] == '/') return false;
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; };
  return std::equal(extension.begin(), extension.end(), path.end() - std::ptrdiff_t(extension.size()),
                    [&](char a, char b) { return lower(a) == lower(b); });
}

std::string folder_of(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace sat
