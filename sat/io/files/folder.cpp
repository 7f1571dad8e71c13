// Listing by readdir(3), removing by unlinkat(2) from the leaves up.
#include "sat/io/files/folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string_view>

#include "sat/io/files/posix.h"
#include "sat/tensor/error.h"

namespace sat {

namespace {

using Kind = FolderEntry::Kind;

/// Closes a folder on the way out.
struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};
using Folder = std::unique_ptr<DIR, CloseFolder>;

/// A folder in a folder (AT_FDCWD: in the current one), or null with errno set. A link to one is not opened.
Folder open_folder(int parent, const char* name) noexcept {
  for (;;) {
    const int number = ::openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (number < 0 && errno == EINTR) continue;
    Descriptor descriptor = above_standard(number);
    if (!descriptor) return nullptr;
    Folder folder(::fdopendir(descriptor));
    if (folder) descriptor.release();
    return folder;
  }
}

bool is_dots(const char* name) { return std::string_view(name) == "." || std::string_view(name) == ".."; }

/// Not every file system tells kinds beside names.
Kind kind_of(DIR* folder, const dirent& entry) noexcept {
  switch (entry.d_type) {
    case DT_REG: return Kind::file;
    case DT_DIR: return Kind::folder;
    case DT_LNK: return Kind::link;
    case DT_UNKNOWN: break;
    default: return Kind::other;
  }
  struct stat status {};
  if (::fstatat(::dirfd(folder), entry.d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) return Kind::other;
  if (S_ISREG(status.st_mode)) return Kind::file;
  if (S_ISDIR(status.st_mode)) return Kind::folder;
  return S_ISLNK(status.st_mode) ? Kind::link : Kind::other;
}

bool remove_in(int parent, const char* name) noexcept {
  const Folder folder = open_folder(parent, name);
  if (!folder) return false;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(folder.get());
    if (!entry) break;
    if (is_dots(entry->d_name)) continue;
    const bool removed = kind_of(folder.get(), *entry) == Kind::folder
                             ? remove_in(::dirfd(folder.get()), entry->d_name)
                             : ::unlinkat(::dirfd(folder.get()), entry->d_name, 0) == 0;
    if (!removed) return false;
  }
  return errno == 0 && ::unlinkat(parent, name, AT_REMOVEDIR) == 0;
}

}  // namespace

std::vector<FolderEntry> list_folder(const std::string& path) {
  Descriptor descriptor = open_descriptor(path, O_RDONLY | O_DIRECTORY);
  SAT_CHECK(descriptor, "cannot list the folder ", path, ": ", system_reason(errno));
  const Folder folder(::fdopendir(descriptor));
  SAT_CHECK(folder, "cannot list the folder ", path, ": ", system_reason(errno));
  descriptor.release();
  std::vector<FolderEntry> entries;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(folder.get());
    if (!entry) break;
    if (!is_dots(entry->d_name)) entries.push_back({entry->d_name, kind_of(folder.get(), *entry)});
  }
  SAT_CHECK(errno == 0, "cannot list the folder ", path, ": ", system_reason(errno));
  std::sort(entries.begin(), entries.end(), [](const FolderEntry& a, const FolderEntry& b) { return a.name < b.name; });
  return entries;
}

bool remove_tree(const char* path) noexcept { return remove_in(AT_FDCWD, path); }

}  // namespace sat
