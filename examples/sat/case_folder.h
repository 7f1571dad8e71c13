// A case's result folder, which appears complete or not at all.
// Knows folders, not what is in them beyond the manifest that marks a finished case.
#pragma once

#include <string>
#include <vector>

namespace sat::cli {

constexpr const char* kManifestName = "manifest.json";

/// A new folder under a temporary name beside the final one. Without commit() it is removed with all it holds; if the
/// process is killed, the next remove_leftovers() does that.
class CaseFolder {
 public:
  /// Throws Error when the folder cannot be made.
  CaseFolder(const std::string& parent, const std::string& name);
  ~CaseFolder();
  CaseFolder(const CaseFolder&) = delete;
  CaseFolder& operator=(const CaseFolder&) = delete;

  const std::string& path() const { return temporary_; }  // where to write now
  /// Puts the folder in its place; a finished case that was there is replaced. Throws Error when something else is.
  void commit();

 private:
  std::string parent_, final_, temporary_;
  int lock_ = -1;  // held on the temporary folder, so that other runs know it is in use
};

/// Throws Error unless the path is free, an empty folder, or a finished case without foreign files: what commit() may
/// replace.
void check_replaceable(const std::string& folder);

/// Removes what killed runs left in an output folder; folders of runs that still work are let alone.
void remove_leftovers(const std::string& parent);

/// Makes the output folder; throws Error when it cannot be made or written to.
void make_output_folder(const std::string& folder);

/// Files below a folder, as paths from it, sorted.
std::vector<std::string> files_below(const std::string& folder);

}  // namespace sat::cli
