// One of ECAMP's fine-tuned networks as the command line asks for it: opened, with the way from a file to its input.
// What is done with the results is each command's.
#pragma once

#include <memory>

#include "examples/sat/command_line/command_line.h"
#include "examples/sat/radiographs/input/image_reader.h"
#include "sat/nn/image/ecamp/ecamp_model.h"

namespace sat::cli {

class EcampNetwork {
 public:
  /// Throws UsageError, naming `command`, where the file holds another network than that command runs.
  EcampNetwork(const ImageModelChoice& choice, EcampKind wanted, const std::string& command);

  const EcampModel& model() const { return *model_; }
  Context& context() const { return *context_; }
  const ImageReader& reader() const { return reader_; }
  int64_t batch() const;

 private:
  ImageModelChoice choice_;
  std::shared_ptr<const EcampModel> model_;
  std::unique_ptr<Context> context_;
  ImageReader reader_;
};

}  // namespace sat::cli
