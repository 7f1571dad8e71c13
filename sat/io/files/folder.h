// Private: folders through the system's own calls. The standard library's walks allocate in functions that promise not
// to throw, so that memory running out would end the process there.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sat {

struct FolderEntry {
  enum class Kind : uint8_t { file, folder, link, other };
  std::string name;
  Kind kind;  // of the entry itself; a link is not followed
};

/// What lies in a folder, sorted by name. Throws Error, with the system's reason, when it cannot be listed.
std::vector<FolderEntry> list_folder(const std::string& path);

/// Removes a folder with all it holds, links themselves and not what they point to. Takes no memory but what the system
/// needs to list a folder. False, with errno set, where something could not be removed.
bool remove_tree(const char* path) noexcept;

}  // namespace sat
