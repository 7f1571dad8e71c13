// Files of a run, each of them whole at any moment.
#include "examples/sat/train/run_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "examples/sat/output/failure.h"
#include "examples/sat/segment/case_folder.h"
#include "sat/io/files/file.h"
#include "sat/io/words/text.h"

namespace sat::cli {

namespace {

constexpr const char *kLog = "log.jsonl", *kConfig = "config.json", *kLast = "last.safetensors", *kLock = ".sat-lock";
constexpr int64_t kLargestLog = int64_t(16) << 30;

bool is_there(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0;
}

[[noreturn]] void refuse(const std::string& message) { throw Failure(FailureKind::output, message); }

}  // namespace

RunFolder::RunFolder(const std::string& path, bool resume) : path_(path) {
  failing_as(FailureKind::output, [&] {
    make_output_folder(path_);
    lock_ = open_descriptor(file(kLock), O_RDWR | O_CREAT);
    SAT_CHECK(lock_, "cannot write in ", path_, ": ", system_reason(errno));
    SAT_CHECK(lock_descriptor(lock_, file(kLock)) != Lock::busy, path_, ": another run is at work in this folder");
    remove_temporary_files(path_);
  });
  if (resume) return;
  for (const char* name : {kLast, kLog, kConfig}) {
    if (is_there(file(name))) {
      refuse(path_ + ": holds another run (" + name + "); --resume goes on with it, or choose another folder");
    }
  }
}

std::optional<std::string> RunFolder::last() const {
  return is_there(file(kLast)) ? std::optional(file(kLast)) : std::nullopt;
}

void RunFolder::write_config(const Json& config) const {
  failing_as(FailureKind::output, [&] { write_file_atomically(file(kConfig), config.dump(2) + "\n"); });
}

void RunFolder::write_checkpoint(const std::string& name, const TrainingCheckpoint& checkpoint) const {
  failing_as(FailureKind::output, [&] { write_training_checkpoint(file(name), checkpoint); });
}

std::string RunFolder::numbered(int64_t step) {
  char name[48];
  std::snprintf(name, sizeof name, "step-%08lld.safetensors", static_cast<long long>(step));
  return name;
}

std::vector<Json> RunFolder::open_log(int64_t step, int64_t validated) {
  std::vector<Json> kept;
  return failing_as(FailureKind::output, [&] {
    std::string text;
    if (is_there(file(kLog))) {
      std::string before = read_file(file(kLog), kLargestLog);
      before.resize(before.rfind('\n') == std::string::npos ? 0 : before.rfind('\n') + 1);  // a killed run's half line
      for (const std::string& line : lines_of(before, file(kLog))) {
        Json json = Json::parse(line, file(kLog));
        if (json["step"].integer() > (json.find("validation") ? validated : step)) continue;
        text += line + "\n";
        kept.push_back(std::move(json));
      }
    }
    write_file_atomically(file(kLog), text);
    log_ = open_descriptor(file(kLog), O_WRONLY | O_APPEND);
    SAT_CHECK(log_, "cannot write ", file(kLog), ": ", system_reason(errno));
    return kept;
  });
}

void RunFolder::log(const Json& line) {
  const std::string text = line.dump() + "\n";
  size_t at = 0;
  while (at < text.size()) {
    const ssize_t written = ::write(log_, text.data() + at, text.size() - at);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) refuse("cannot write " + file(kLog) + ": " + system_reason(errno));
    at += size_t(written);
  }
}

}  // namespace sat::cli
