// What a run over images says of each: a line of JSON where that is asked for, failures as lines that stay, and counts.
#pragma once

#include <exception>
#include <string>
#include <vector>

#include "examples/sat/output/progress.h"
#include "examples/sat/radiographs/input/image_reader.h"
#include "sat/io/words/json.h"

namespace sat::cli {

class ImageReports {
 public:
  ImageReports(ProgressView& view, bool as_json, int64_t images) : view_(view), as_json_(as_json), images_(images) {}

  void done(const ReadyImage& image, const std::vector<Json::Member>& more = {});
  void skipped(const ListedImage& image);
  void failed(const ListedImage& image, const std::exception& error);
  void progress(int64_t looked_at) { view_.count("images", "images", looked_at, images_); }

  /// The last line: of JSON, and on the terminal `what` with the counts and the remark.
  void finish(const std::string& what, const std::vector<Json::Member>& more, const std::string& remark);
  int status() const;

 private:
  ProgressView& view_;
  bool as_json_;
  int64_t images_, done_ = 0, skipped_ = 0, failed_ = 0;
};

/// Names for classes: those given, which must be as many, or "class 0", "class 1" ... Throws UsageError.
std::vector<std::string> class_names(const std::vector<std::string>& given, int64_t classes);

/// A folder that is there afterwards; throws Error where something else stands at its path.
void make_folder(const std::string& path);

/// Writes a table to a file, whole or not at all, or to stdout where no file is named.
void write_table(const std::string& path, const std::string& text);

}  // namespace sat::cli
