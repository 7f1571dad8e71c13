// A case's result folder, which appears complete or not at all, and what stands in the place where it is to appear.
// Knows folders and files, not what is in them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sat/io/files/posix.h"

namespace sat::cli {

/// A new folder under a temporary name beside the final one. Without commit() it is removed with all it holds; if the
/// process is killed, the next clean_output_folder() does that.
class CaseFolder {
 public:
  /// Throws Error when the folder cannot be made.
  CaseFolder(const std::string& parent, const std::string& name);
  ~CaseFolder();
  CaseFolder(const CaseFolder&) = delete;
  CaseFolder& operator=(const CaseFolder&) = delete;

  const std::string& path() const { return temporary_; }  // where to write now
  /// Puts the folder in its place. With an earlier result there the two change places in one step, so that at every
  /// moment one of them is whole, and the earlier one is removed then. `check` is called just before, while other runs
  /// that use this output folder wait; what it throws leaves all as it was. `kept` are files of the earlier result, as
  /// paths from its folder, that become part of this one as they are.
  void commit(const std::vector<std::string>& kept, const std::function<void()>& check);

 private:
  std::string parent_, name_, final_, temporary_;
  Descriptor lock_;  // held on the temporary folder, so that other runs know it is in use
};

/// What stands at the path of a case's folder. A file or a link there throws Error.
enum class Place : uint8_t { free, empty_folder, folder };
Place place_at(const std::string& folder);

/// Makes the output folder; throws Error when it cannot be made or written to.
void make_output_folder(const std::string& folder);

/// Removes what killed runs left in an output folder and puts back a result that one of them had moved aside. Folders
/// and files of runs that still work are let alone, and so is everything on a file system that cannot tell. Returns
/// false in that case: it has no locks, so that two runs must not share this folder.
bool clean_output_folder(const std::string& parent);

/// Files below a folder, as paths from it, sorted.
std::vector<std::string> files_below(const std::string& folder);

}  // namespace sat::cli
