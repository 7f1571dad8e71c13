// Private. Features as they are made, image by image: a file that grows, and that a later run goes on with, whatever
// ended the one before. What is left of a half-written record is cut off; finished files are feature_writer.h's.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "sat/io/files/posix.h"
#include "sat/io/words/json.h"
#include "sat/tensor/tensor.h"

namespace sat {

/// What became of one image.
struct FeatureRecord {
  std::string image;     // its name, by which labels know it
  std::string identity;  // SHA-256 of its file; may be empty
  std::string error;     // why it has no features; empty: it has some
};

Json to_json(const FeatureRecord& record);
FeatureRecord feature_record_from_json(const Json& json);

class FeatureLog {
 public:
  /// Opens the file, or begins it where there is none. `settings` is one line that says what rows are; throws Error
  /// where the file was begun with another line, and where another process has it open. `afresh`: what it holds is
  /// thrown away.
  FeatureLog(const std::string& path, const std::string& settings, int64_t row_bytes, bool afresh);

  /// Appends a record, with row_bytes bytes where it has features. A later one of an image takes the earlier one's
  /// place.
  void append(const FeatureRecord& record, const void* row);

  /// What the file holds of an image, or null.
  const FeatureRecord* find(const std::string& image) const;
  void read_row(const std::string& image, void* row) const;
  int64_t records() const { return int64_t(places_.size()); }

  /// Removes the file; call last.
  void remove();

 private:
  struct Place {
    FeatureRecord record;
    int64_t row_at = 0;
  };
  void begin(const std::string& head);
  void take_over(const std::string& head);

  std::string path_;
  Descriptor file_;
  int64_t row_bytes_, end_ = 0;
  std::unordered_map<std::string, Place> places_;
};

}  // namespace sat
