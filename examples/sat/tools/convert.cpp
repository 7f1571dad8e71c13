// sat convert: official checkpoints to safetensors that say what they are.
#include <algorithm>

#include "examples/sat/command_line/command_line.h"
#include "examples/sat/interrupt.h"
#include "examples/sat/output/output.h"
#include "sat/io/checkpoints/checkpoint.h"
#include "sat/io/files/file.h"
#include "sat/nn/sat/model_file.h"
#include "sat/nn/text/embedding_bank.h"
#include "sat/nn/text/text_file.h"
#include "sat/tensor/context.h"

namespace sat::cli {

namespace {

constexpr int64_t kLargestConfig = 1 << 20;  // bytes of JSON

/// While it runs, an interrupt leaves no half-written file; what killed runs left beside it is removed.
template <class Body>
void write_interruptibly(const std::string& output, Body body) {
  watch_for_interrupts();
  ContextOptions options;
  options.threads = 1;
  options.cancelled = interrupted;
  Context context(options);
  UseContext use(context);
  failing_as(FailureKind::output, [&] {
    remove_temporary_files(folder_of(output));
    body();
  });
}

TextEncoderConfig text_config(const ConvertRequest& request, const TextEncoderConfig& found) {
  if (!request.text_config.empty()) {
    const std::string& path = request.text_config;
    return text_config_from_json(Json::parse(read_file(path, kLargestConfig), path), path);
  }
  if (request.native) return native_text_config(request.text_kind.value_or(found.kind));
  return request.text_kind ? published_text_config(*request.text_kind) : found;
}

int convert_text(const ConvertRequest& request, const std::vector<std::string>& inputs, const std::string& output) {
  if (!request.config.empty() || !request.pair_with.empty() || request.training_heads) {
    throw UsageError("--config, --pair-with and --training-heads are for segmentation models; this is a text encoder");
  }
  TextFile text = open_text_file(inputs, request.limits);
  text.config = text_config(request, text.config);
  write_interruptibly(output, [&] { write_text_file(output, text, request.dtype); });
  say(std::string("text encoder (") + name_of(text.config.kind) + ") in " + output);
  return kDone;
}

int convert_model(const ConvertRequest& request, const std::vector<std::string>& inputs, const std::string& output) {
  if (inputs.size() > 1)
    throw UsageError("a segmentation model is one file, " + std::to_string(inputs.size()) + " are given");
  if (request.text_kind || !request.text_config.empty() || request.native) {
    throw UsageError("--text-kind, --text-config and --native are for text encoders; this is a segmentation model");
  }
  const ModelFile model = open_model_file(inputs[0], request.config, request.limits);
  std::string text_identity;
  if (!request.pair_with.empty()) {
    const std::string& text = request.pair_with;
    text_identity = is_bank(text) ? read_bank(text).text_identity : open_text_file({text}).identity;
    SAT_CHECK(!text_identity.empty(), text, ": this bank does not say which text encoder it was made with");
    check_pairing(model, text, text_identity);
  }
  write_interruptibly(output,
                      [&] { write_model_file(output, model, request.dtype, request.training_heads, text_identity); });
  say("segmentation model " + model.config.architecture + " in " + output);
  return kDone;
}

}  // namespace

int run(const ConvertRequest& request) {
  std::vector<std::string> inputs = request.files;
  if (inputs.size() < 2) throw UsageError("convert needs a file to read and a file to write");
  const std::string output = inputs.back();
  inputs.pop_back();
  if (!has_extension(output, ".safetensors")) throw UsageError("the file to write must end in .safetensors: " + output);
  const bool text = std::any_of(inputs.begin(), inputs.end(), [&](const std::string& input) {
    return is_text_file(open_checkpoint(input, request.limits).weights);
  });
  return text ? convert_text(request, inputs, output) : convert_model(request, inputs, output);
}

}  // namespace sat::cli
