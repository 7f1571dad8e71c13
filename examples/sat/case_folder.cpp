// Temporary folders carry a lock that the system lets go of with the process, however it ends.
#include "examples/sat/case_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "sat/io/file.h"
#include "sat/io/json.h"
#include "sat/tensor/error.h"

namespace sat::cli {

namespace {

namespace fs = std::filesystem;
constexpr const char* kTemporary = ".sat-case-";
constexpr int64_t kLargestManifest = int64_t(64) << 20;

/// A descriptor that holds the folder's lock, or -1 when another process has it or the folder is gone.
int lock_folder(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return -1;
  struct stat status {};
  const bool held = ::flock(descriptor, LOCK_EX | LOCK_NB) == 0;
  if (held && ::fstat(descriptor, &status) == 0 && status.st_nlink > 0) return descriptor;
  ::close(descriptor);
  return -1;
}

void sync_folder(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

}  // namespace

void make_output_folder(const std::string& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  SAT_CHECK(fs::is_directory(folder, error), "cannot make the output folder ", folder);
  SAT_CHECK(::access(folder.c_str(), W_OK | X_OK) == 0, "cannot write to the output folder ", folder);
}

std::vector<std::string> files_below(const std::string& folder) {
  std::vector<std::string> files;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code unknown;
    if (entry->is_directory(unknown) && !entry->is_symlink(unknown)) continue;
    files.push_back(fs::path(entry->path()).lexically_relative(folder).generic_string());
  }
  SAT_CHECK(!error, "cannot list the folder ", folder);
  std::sort(files.begin(), files.end());
  return files;
}

void check_replaceable(const std::string& folder) {
  std::error_code error;
  const fs::file_status status = fs::symlink_status(folder, error);
  if (status.type() == fs::file_type::not_found) return;
  SAT_CHECK(status.type() == fs::file_type::directory, folder, " exists and is no folder");
  const std::vector<std::string> files = files_below(folder);
  if (files.empty()) return;
  std::set<std::string> known{kManifestName};
  const std::string manifest = folder + "/" + kManifestName;
  SAT_CHECK(fs::is_regular_file(manifest, error), folder,
            " holds files that are no result of sat; move them away or choose another output folder");
  for (const std::string& name : Json::parse(read_file(manifest, kLargestManifest), manifest)["files"].strings()) {
    known.insert(name);
  }
  for (const std::string& file : files) {
    SAT_CHECK(known.count(file) > 0, folder, "/", file, " was not written by sat; move it away to redo this case");
  }
}

CaseFolder::CaseFolder(const std::string& parent, const std::string& name)
    : parent_(parent), final_(parent + "/" + name) {
  for (int attempt = 0; attempt < 10 && lock_ < 0; ++attempt) {  // another run may clean it up before it is locked
    temporary_ = parent + "/" + kTemporary + "XXXXXX";
    SAT_CHECK(::mkdtemp(temporary_.data()) != nullptr, "cannot make a folder in ", parent, ": system error ", errno);
    lock_ = lock_folder(temporary_);
  }
  SAT_CHECK(lock_ >= 0, "cannot lock a folder in ", parent);
  const mode_t mask = ::umask(0);
  ::umask(mask);
  ::chmod(temporary_.c_str(), mode_t(0777) & ~mask);  // mkdtemp's is private
}

CaseFolder::~CaseFolder() {
  std::error_code error;
  if (!temporary_.empty()) fs::remove_all(temporary_, error);
  if (lock_ >= 0) ::close(lock_);
}

void CaseFolder::commit() {
  check_replaceable(final_);
  sync_folder(temporary_);
  std::error_code error;
  std::string old;
  if (fs::exists(fs::symlink_status(final_, error))) {
    old = temporary_ + ".old";  // a name that remove_leftovers() knows
    fs::rename(final_, old, error);
    SAT_CHECK(!error, "cannot move the earlier result ", final_, " away");
  }
  fs::rename(temporary_, final_, error);
  if (error && !old.empty()) {
    std::error_code ignored;
    fs::rename(old, final_, ignored);
  }
  SAT_CHECK(!error, "cannot put the result in its place ", final_);
  temporary_.clear();
  sync_folder(parent_);
  if (!old.empty()) fs::remove_all(old, error);
}

void remove_leftovers(const std::string& parent) {
  std::vector<std::string> found;
  std::error_code error;
  for (fs::directory_iterator entry(parent, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    std::error_code unknown;
    const bool folder = entry->is_directory(unknown) && !entry->is_symlink(unknown);
    if (folder && name.rfind(kTemporary, 0) == 0) found.push_back(entry->path().string());
  }
  for (const std::string& path : found) {
    const int lock = lock_folder(path);
    if (lock < 0) continue;
    fs::remove_all(path, error);
    ::close(lock);
  }
}

}  // namespace sat::cli
