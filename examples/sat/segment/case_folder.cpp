// Temporary folders carry a lock that the system lets go of with the process, however it ends.
#include "examples/sat/segment/case_folder.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <random>

#include "sat/io/files/file.h"
#include "sat/io/files/folder.h"
#include "sat/tensor/error.h"

namespace sat::cli {

namespace {

namespace fs = std::filesystem;
constexpr const char* kTemporary = ".sat-case-";  // and six letters or digits
constexpr const char* kAside = ".sat-old-";       // and the name of the case
constexpr size_t kRandomLetters = 6;

bool starts_with(const std::string& text, const char* start) { return text.rfind(start, 0) == 0; }

/// A folder with its lock.
struct Held {
  Descriptor descriptor;
  Lock lock = Lock::busy;
};

/// Opens a folder and asks for its lock; `busy` also when it is gone.
Held hold_folder(const std::string& path) {
  Held held;
  held.descriptor = open_descriptor(path, O_RDONLY | O_DIRECTORY);
  if (!held.descriptor) {
    SAT_CHECK(errno == ENOENT, "cannot open the folder ", path, ": ", system_reason(errno));
    return held;
  }
  held.lock = lock_descriptor(held.descriptor, path);
  struct stat status {};
  SAT_CHECK(::fstat(held.descriptor, &status) == 0, "cannot look at the folder ", path, ": ", system_reason(errno));
  if (status.st_nlink == 0) held.lock = Lock::busy;
  return held;
}

std::string random_letters() {
  std::random_device random;
  std::string letters;
  for (size_t i = 0; i < kRandomLetters; ++i) letters += "abcdefghijklmnopqrstuvwxyz0123456789"[random() % 36];
  return letters;
}

/// Another name for the same bytes, or a copy where the file system has no such links.
void take_over(const std::string& from, const std::string& to) {
  std::error_code error;
  fs::create_directories(fs::path(to).parent_path(), error);
  fs::create_hard_link(from, to, error);
  if (error) fs::copy_file(from, to, error);
  SAT_CHECK(!error, "cannot keep ", from, ": ", system_reason(error.value()));
}

/// Adds the files below `folder / inside` as paths from `folder`.
void add_files(std::vector<std::string>& files, const std::string& folder, const std::string& inside) {
  for (const FolderEntry& entry : list_folder(folder + "/" + inside)) {
    const std::string path = inside.empty() ? entry.name : inside + "/" + entry.name;
    if (entry.kind == FolderEntry::Kind::folder) {
      add_files(files, folder, path);
    } else {
      files.push_back(path);
    }
  }
}

/// Removes a temporary folder unless somebody works in it. In a folder that people share it may be another's, which
/// cannot be opened or removed; then it stays.
void remove_if_left(const std::string& path) {
  try {
    const Held held = hold_folder(path);
    if (held.lock == Lock::held) remove_tree(path.c_str());
  } catch (const Error&) {
    return;
  }
}

/// Puts an earlier result back that a killed run had moved aside, or removes it where there is a new one.
void settle_aside(const std::string& aside, const std::string& place) {
  std::error_code error;
  if (fs::exists(fs::symlink_status(place, error))) {
    remove_tree(aside.c_str());
  } else {
    fs::rename(aside, place, error);
  }
}

}  // namespace

void make_output_folder(const std::string& folder) {
  std::error_code error, unknown;
  fs::create_directories(folder, error);
  SAT_CHECK(fs::is_directory(folder, unknown), "cannot make the output folder ", folder, ": ",
            error ? system_reason(error.value()) : "something else has its name");
  SAT_CHECK(::access(folder.c_str(), W_OK | X_OK) == 0, "cannot write to the output folder ", folder, ": ",
            system_reason(errno));
}

std::vector<std::string> files_below(const std::string& folder) {
  std::vector<std::string> files;
  add_files(files, folder, "");
  std::sort(files.begin(), files.end());
  return files;
}

Place place_at(const std::string& folder) {
  std::error_code error;
  const fs::file_status status = fs::symlink_status(folder, error);
  if (status.type() == fs::file_type::not_found) return Place::free;
  SAT_CHECK(!error, "cannot look at ", folder, ": ", system_reason(error.value()));
  SAT_CHECK(status.type() == fs::file_type::directory, folder, " exists and is no folder");
  return files_below(folder).empty() ? Place::empty_folder : Place::folder;
}

CaseFolder::CaseFolder(const std::string& parent, const std::string& name)
    : parent_(parent), name_(name), final_(parent + "/" + name) {
  for (int attempt = 0; attempt < 10; ++attempt) {  // another run may clean it up before it is locked
    temporary_ = parent + "/" + kTemporary + random_letters();
    // The system applies umask, default rights and the parent's group and set-gid bit.
    if (::mkdir(temporary_.c_str(), 0777) != 0) {
      SAT_CHECK(errno == EEXIST || errno == EINTR, "cannot make a folder in ", parent, ": ", system_reason(errno));
      continue;
    }
    try {
      Held held = hold_folder(temporary_);
      if (held.lock == Lock::busy) continue;
      lock_ = std::move(held.descriptor);
      return;
    } catch (...) {
      ::rmdir(temporary_.c_str());
      throw;
    }
  }
  fail("cannot lock a folder in ", parent);
}

CaseFolder::~CaseFolder() {
  if (!temporary_.empty()) remove_tree(temporary_.c_str());  // where that fails, the next run does it
}

void CaseFolder::commit(const std::vector<std::string>& kept, const std::function<void()>& check) {
  const Descriptor parent = open_descriptor(parent_, O_RDONLY | O_DIRECTORY);
  SAT_CHECK(parent, "cannot open the output folder ", parent_, ": ", system_reason(errno));
  lock_descriptor(parent, parent_, true);
  check();
  for (const std::string& file : kept) take_over(final_ + "/" + file, temporary_ + "/" + file);
  sync_folder(temporary_);
  const bool replaces = place_at(final_) != Place::free;
  if (!replaces) {
    SAT_CHECK(::rename(temporary_.c_str(), final_.c_str()) == 0, "cannot put the result in its place ", final_, ": ",
              system_reason(errno));
    temporary_.clear();
  } else if (::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, final_.c_str(), RENAME_EXCHANGE) != 0) {
    SAT_CHECK(errno == ENOSYS || errno == EINVAL || errno == EOPNOTSUPP, "cannot put the result in its place ", final_,
              ": ", system_reason(errno));
    // In two steps: a run that dies between them leaves the earlier result under a name that tells where it belongs.
    const std::string aside = parent_ + "/" + kAside + name_;
    SAT_CHECK(::rename(final_.c_str(), aside.c_str()) == 0, "cannot move the earlier result ", final_,
              " aside: ", system_reason(errno));
    const int failed = ::rename(temporary_.c_str(), final_.c_str()) == 0 ? 0 : errno;
    if (failed != 0) ::rename(aside.c_str(), final_.c_str());
    SAT_CHECK(failed == 0, "cannot put the result in its place ", final_, ": ", system_reason(failed));
    temporary_ = aside;
  }
  sync_folder(parent_);
  if (!temporary_.empty())
    remove_tree(temporary_.c_str());  // the earlier result; where that fails, the next run does it
  temporary_.clear();
}

bool clean_output_folder(const std::string& parent) {
  const Descriptor lock = open_descriptor(parent, O_RDONLY | O_DIRECTORY);
  SAT_CHECK(lock, "cannot open the output folder ", parent, ": ", system_reason(errno));
  if (lock_descriptor(lock, parent, true) == Lock::unsupported) return false;
  for (const FolderEntry& entry : list_folder(parent)) {
    if (entry.kind != FolderEntry::Kind::folder) continue;
    const std::string path = parent + "/" + entry.name;
    if (starts_with(entry.name, kAside)) {
      settle_aside(path, parent + "/" + entry.name.substr(std::string(kAside).size()));
    } else if (starts_with(entry.name, kTemporary) &&
               entry.name.size() == std::string(kTemporary).size() + kRandomLetters) {
      remove_if_left(path);
    }
  }
  remove_temporary_files(parent);
  return true;
}

}  // namespace sat::cli
