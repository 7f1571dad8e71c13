// The program asks the system where it lies itself, so that an installed tree can be moved.
#include "examples/sat/shipped.h"

#include <filesystem>

namespace sat::cli {

std::string find_shipped(const std::string& name) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (error) return "";
  for (const char* folder : {"../share/sat", "../weights"}) {
    const fs::path path = (program.parent_path() / folder / name).lexically_normal();
    if (fs::is_regular_file(path, error)) return path.string();
  }
  return "";
}

}  // namespace sat::cli
