// sat convert: official checkpoints to safetensors that say what they are.
#include <algorithm>
#include <cstdio>

#include "examples/sat/command.h"
#include "sat/io/checkpoint.h"
#include "sat/io/file.h"
#include "sat/nn/embedding_bank.h"
#include "sat/nn/model_file.h"
#include "sat/nn/text_file.h"

namespace sat::cli {

namespace {

constexpr int64_t kLargestConfig = 1 << 20;  // bytes of JSON

DType parse_dtype(const std::string& name) {
  for (DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    if (name == name_of(dtype)) return dtype;
  }
  throw UsageError("--dtype is '" + name + "', needs f32, bf16 or f16");
}

TextEncoderConfig text_config(const Arguments& arguments, const TextEncoderConfig& found) {
  const TextKind kind = arguments.has("--text-kind") ? parse_text_kind(arguments.value("--text-kind")) : found.kind;
  if (arguments.has("--text-config")) {
    const std::string path = arguments.value("--text-config");
    return text_config_from_json(Json::parse(read_file(path, kLargestConfig), path), path);
  }
  if (arguments.has("--native")) return native_text_config(kind);
  return arguments.has("--text-kind") ? published_text_config(kind) : found;
}

int convert_text(const Arguments& arguments, const std::vector<std::string>& inputs, const std::string& output,
                 DType dtype) {
  for (const char* name : {"--config", "--pair-with", "--training-heads"}) {
    if (arguments.has(name))
      throw UsageError(std::string(name) + " is for segmentation models; this is a text encoder");
  }
  TextFile text = open_text_file(inputs);
  text.config = text_config(arguments, text.config);
  write_text_file(output, text, dtype);
  std::fprintf(stderr, "text encoder (%s) in %s\n", name_of(text.config.kind), output.c_str());
  return 0;
}

int convert_model(const Arguments& arguments, const std::vector<std::string>& inputs, const std::string& output,
                  DType dtype) {
  if (inputs.size() > 1)
    throw UsageError("a segmentation model is one file, " + std::to_string(inputs.size()) + " are given");
  for (const char* name : {"--text-kind", "--text-config", "--native"}) {
    if (arguments.has(name))
      throw UsageError(std::string(name) + " is for text encoders; this is a segmentation model");
  }
  const ModelFile model = open_model_file(inputs[0], arguments.value("--config"));
  std::string text_identity;
  if (arguments.has("--pair-with")) {
    const std::string text = arguments.value("--pair-with");
    text_identity = is_bank(text) ? read_bank(text).text_identity : open_text_file({text}).identity;
    SAT_CHECK(!text_identity.empty(), text, ": this bank does not say which text encoder it was made with");
    check_pairing(model, text, text_identity);
  }
  write_model_file(output, model, dtype, arguments.has("--training-heads"), text_identity);
  std::fprintf(stderr, "segmentation model %s in %s\n", model.config.architecture.c_str(), output.c_str());
  return 0;
}

int run(const Arguments& arguments) {
  std::vector<std::string> inputs = arguments.words();
  if (inputs.size() < 2) throw UsageError("convert needs a file to read and a file to write");
  const std::string output = inputs.back();
  inputs.pop_back();
  if (!has_extension(output, ".safetensors")) throw UsageError("the file to write must end in .safetensors: " + output);
  const DType dtype = parse_dtype(arguments.value("--dtype", "f32"));
  const bool text = std::any_of(inputs.begin(), inputs.end(),
                                [](const std::string& input) { return is_text_file(open_checkpoint(input).weights); });
  return text ? convert_text(arguments, inputs, output, dtype) : convert_model(arguments, inputs, output, dtype);
}

}  // namespace

Command convert_command() {
  return {"convert",
          "turn a PyTorch or safetensors checkpoint into a sat model or text encoder",
          "IN... OUT.safetensors [--config C] [--dtype f32|bf16|f16] [--pair-with TEXT] [--training-heads] "
          "[--text-kind ours|medcpt|basebert]",
          "What the input is follows from its tensors. A text encoder may come in several files, for example an "
          "encoder and, apart from it, its projection and modality table; its identity is the first file's.",
          {{"--config", "FILE", "JSON description of a model whose sizes were never published"},
           {"--dtype", "TYPE", "f32 (default), bf16 or f16"},
           {"--pair-with", "TEXT", "record the text encoder (or a bank made with it) that the model belongs to"},
           {"--training-heads", "", "keep the deep-supervision heads, which only training needs"},
           {"--text-kind", "KIND", "which encoder this is, where tensors cannot tell: ours, medcpt or basebert"},
           {"--text-config", "FILE", "JSON description of how prompts are encoded"},
           {"--native", "", "a sentence encoder with its own start and end tokens, not SAT's"}},
          "  sat convert nano.pth nano.safetensors --dtype f16 --pair-with nano_text_encoder.pth\n"
          "  sat convert nano_text_encoder.pth nano-text.safetensors --text-kind ours\n",
          run};
}

}  // namespace sat::cli
