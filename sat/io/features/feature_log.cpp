// The growing file: one line of settings, then records: length and CRC-32, a line of JSON, and perhaps a row.
#include "sat/io/features/feature_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "sat/io/files/file.h"
#include "sat/io/words/text.h"

namespace sat {

namespace {

constexpr int64_t kMostLine = 1 << 16;

struct Mark {
  uint32_t length = 0;  // of the line; the row, if any, follows it
  uint32_t crc = 0;     // of line and row
};

/// Exactly `count` bytes from `at` on, or false where the file ends before.
bool read_at(int file, const std::string& path, int64_t at, void* out, int64_t count) {
  char* to = static_cast<char*>(out);
  while (count > 0) {
    const ssize_t got = ::pread(file, to, size_t(count), off_t(at));
    if (got < 0 && errno == EINTR) continue;
    SAT_CHECK(got >= 0, "cannot read ", path, ": ", system_reason(errno));
    if (got == 0) return false;
    to += got;
    at += got;
    count -= got;
  }
  return true;
}

void write_at(int file, const std::string& path, int64_t at, const std::string& bytes) {
  int64_t done = 0;
  while (done < int64_t(bytes.size())) {
    const ssize_t put = ::pwrite(file, bytes.data() + done, bytes.size() - size_t(done), off_t(at + done));
    if (put < 0 && errno == EINTR) continue;
    SAT_CHECK(put >= 0, "cannot write ", path, ": ", system_reason(errno));
    done += put;
  }
}

}  // namespace

Json to_json(const FeatureRecord& record) {
  Json json = Json::object({{"image", record.image}});
  if (!record.identity.empty()) json.set("sha256", record.identity);
  json.set("status", record.error.empty() ? "done" : "failed");
  if (!record.error.empty()) json.set("error", record.error);
  return json;
}

FeatureRecord feature_record_from_json(const Json& json) {
  FeatureRecord record;
  record.image = json["image"].string();
  SAT_CHECK(!record.image.empty(), "an image without a name");
  if (const Json* identity = json.find("sha256")) record.identity = identity->string();
  const std::string& status = json["status"].string();
  SAT_CHECK(status == "done" || status == "failed", "image ", quoted(record.image), ": its status is ", quoted(status));
  if (status == "failed") record.error = json["error"].string();
  SAT_CHECK((status == "failed") == !record.error.empty(), "image ", quoted(record.image), ": failed without a reason");
  return record;
}

FeatureLog::FeatureLog(const std::string& path, const std::string& settings, int64_t row_bytes, bool afresh)
    : path_(path), file_(open_descriptor(path, O_RDWR | O_CREAT | O_NOFOLLOW)), row_bytes_(row_bytes) {
  SAT_CHECK(file_, "cannot write ", path_, ": ", system_reason(errno));
  struct stat status {};
  SAT_CHECK(::fstat(file_, &status) == 0, "cannot read ", path_, ": ", system_reason(errno));
  SAT_CHECK(S_ISREG(status.st_mode), "cannot write ", path_, ": it is not a regular file");
  SAT_CHECK(lock_descriptor(file_, path_) != Lock::busy, path_, ": another process is writing it");
  const std::string head = settings + "\n";
  SAT_CHECK(settings.find('\n') == std::string::npos && int64_t(head.size()) <= kMostLine, path_, ": settings of ",
            head.size(), " bytes, at most ", kMostLine, " in one line fit");
  end_ = status.st_size;
  if (afresh || end_ == 0) {
    begin(head);
  } else {
    take_over(head);
  }
}

void FeatureLog::begin(const std::string& head) {
  SAT_CHECK(::ftruncate(file_, 0) == 0, "cannot write ", path_, ": ", system_reason(errno));
  write_at(file_, path_, 0, head);
  end_ = int64_t(head.size());
}

void FeatureLog::take_over(const std::string& head) {
  const int64_t size = end_;
  std::string found(head.size(), '\0');
  SAT_CHECK(read_at(file_, path_, 0, found.data(), int64_t(head.size())) && found == head, path_,
            ": it was begun with another model or other settings; finish it with those, or remove it");
  end_ = int64_t(head.size());
  std::string body;
  for (Mark mark; read_at(file_, path_, end_, &mark, sizeof mark);) {
    const int64_t at = end_ + int64_t(sizeof mark);
    if (mark.length > kMostLine || mark.length > size - at) break;
    body.resize(mark.length);
    if (!read_at(file_, path_, at, body.data(), mark.length)) break;
    FeatureRecord record;
    try {
      record = feature_record_from_json(Json::parse(body, path_));
    } catch (const Error&) {
      break;
    }
    const int64_t row_at = at + mark.length, row = record.error.empty() ? row_bytes_ : 0;
    if (row > size - row_at) break;
    body.resize(mark.length + size_t(row));
    if (!read_at(file_, path_, row_at, body.data() + mark.length, row)) break;
    if (crc32(body.data(), int64_t(body.size())) != mark.crc) break;
    const std::string image = record.image;
    places_[image] = {std::move(record), row_at};
    end_ = row_at + row;
  }
  SAT_CHECK(::ftruncate(file_, off_t(end_)) == 0, "cannot write ", path_, ": ", system_reason(errno));
}

void FeatureLog::append(const FeatureRecord& record, const void* row) {
  SAT_CHECK(!record.image.empty() && is_utf8(record.image) && is_utf8(record.error), path_, ": ", quoted(record.image),
            " is no name of an image in UTF-8");
  std::string body = to_json(record).dump();
  SAT_CHECK(int64_t(body.size()) <= kMostLine, path_, ": the record of image ", quoted(record.image), " takes ",
            body.size(), " bytes, at most ", kMostLine, " fit");
  Mark mark{uint32_t(body.size()), 0};
  const int64_t row_at = end_ + int64_t(sizeof mark) + int64_t(body.size());
  if (record.error.empty()) body.append(static_cast<const char*>(row), size_t(row_bytes_));
  mark.crc = crc32(body.data(), int64_t(body.size()));
  body.insert(0, reinterpret_cast<const char*>(&mark), sizeof mark);
  write_at(file_, path_, end_, body);
  end_ += int64_t(body.size());
  places_[record.image] = {record, row_at};
}

const FeatureRecord* FeatureLog::find(const std::string& image) const {
  const auto found = places_.find(image);
  return found == places_.end() ? nullptr : &found->second.record;
}

void FeatureLog::read_row(const std::string& image, void* row) const {
  const auto found = places_.find(image);
  SAT_CHECK(found != places_.end() && found->second.record.error.empty(), path_, ": no features of image ",
            quoted(image));
  SAT_CHECK(read_at(file_, path_, found->second.row_at, row, row_bytes_), path_, ": was shortened while it was in use");
}

void FeatureLog::remove() {
  SAT_CHECK(::unlink(path_.c_str()) == 0 || errno == ENOENT, "cannot remove ", path_, ": ", system_reason(errno));
  places_.clear();
}

}  // namespace sat
