// The folder of a training: config.json, log.jsonl, curves.png, and the checkpoints last, best and numbered ones.
// Knows files, not what is trained.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sat/io/files/posix.h"
#include "sat/io/words/json.h"
#include "sat/nn/train/training_checkpoint.h"

namespace sat::cli {

class RunFolder {
 public:
  /// Makes the folder where there is none, and locks it against other runs. Throws Failure of kind output, for one that
  /// cannot be written, that another run works in, or that holds a run although `resume` is false.
  RunFolder(const std::string& path, bool resume);

  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  /// "last.safetensors", where there is one.
  std::optional<std::string> last() const;

  void write_config(const Json& config) const;
  void write_checkpoint(const std::string& name, const TrainingCheckpoint& checkpoint) const;
  static std::string numbered(int64_t step);  // "step-00010000.safetensors"

  /// Opens the log, keeping of an earlier one the lines of steps up to `step` and of validations up to `validated`,
  /// which are returned.
  std::vector<Json> open_log(int64_t step, int64_t validated);
  void log(const Json& line);  // appended in one write

 private:
  std::string path_;
  Descriptor lock_, log_;
};

}  // namespace sat::cli
