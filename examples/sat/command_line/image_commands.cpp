// sat encode: encoders of radiographs, and the options that all commands on radiographs share.
#include "examples/sat/command_line/commands.h"
#include "examples/sat/command_line/options.h"

namespace sat::cli {

namespace {

constexpr int64_t kLargestSize = 8192, kLargestBatch = 1024;

void add_image_model(CLI::App* command, ImageModelChoice& choice) {
  add_file(command, "--model", choice.model.model, "the encoder (.safetensors, .bin, .pth)")->required();
  add_file(command, "--config", choice.model.config, "its config.json; default: the one beside it, if any");
  command
      ->add_option("--interpolation", choice.model.interpolation,
                   "how positions are stretched to other sizes: offset, as\nDINOv2 trained, or size, as transformers "
                   "does today;\ndefault: what the config says, else size")
      ->type_name("RULE")
      ->check(CLI::IsMember({"offset", "size"}));
  command->add_option("--size", choice.size, "side of the square input; default: what the model was made for")
      ->type_name("PIXELS")
      ->check(CLI::Range(int64_t(1), kLargestSize));
  command->add_option("--batch", choice.batch, "images at a time, fewer where memory is short; default: 4")
      ->type_name("N")
      ->check(CLI::Range(int64_t(1), kLargestBatch));
  command
      ->add_option_function<std::string>(
          "--window",
          [&choice](const std::string& text) {
            try {
              read_window(text, choice.reading);
            } catch (const Error& error) {
              throw CLI::ValidationError("--window", error.what());
            }
          },
          "how deeper values become 8 bits: range (default), dicom,\nsaturate or LOW,HIGH (docs/images.md)")
      ->type_name("RULE");
  command->add_flag("--exif", choice.reading.exif, "turn images as their EXIF orientation says");
  add_device(command, choice.device, "auto");
  add_threads(command, choice.model.threads);
  add_parsed(command, "--max-ram", choice.model.max_ram, parse_bytes,
             "refuse what would need more memory, for example 6G;\n"
             "default: what the machine has or its control group allows")
      ->type_name("BYTES");
  add_cpu(command, choice.model.cpu);
  add_precision(command, choice.model.precision);
}

std::vector<int64_t> parse_layers(const std::string& text) {
  std::vector<int64_t> layers;
  for (const std::string& number : parse_list(text)) {
    int64_t layer = 0;
    SAT_CHECK(CLI::detail::lexical_cast(number, layer) && layer > 0, "'", number, "' is no block of an encoder");
    layers.push_back(layer);
  }
  return layers;
}

/// "12" or "12:3".
void read_attention(const std::string& text, EncodeOptions& options) {
  const size_t colon = text.find(':');
  const std::string block = text.substr(0, colon), head = colon == std::string::npos ? "" : text.substr(colon + 1);
  const bool right =
      CLI::detail::lexical_cast(block, options.attention) && options.attention > 0 &&
      (colon == std::string::npos || (CLI::detail::lexical_cast(head, options.head) && options.head >= 0));
  if (!right) throw CLI::ValidationError("--attention", "'" + text + "' is neither BLOCK nor BLOCK:HEAD");
}

}  // namespace

CLI::App* add_encode(CLI::App& program, EncodeRequest& request) {
  CLI::App* command = program.add_subcommand("encode", "Turn radiographs into features");
  add_words(command, "IMAGE", request.images, "images (PNG, JPEG, TIFF, DICOM where built in), or folders of them");
  add_file(command, "-o,--output", request.output, "the features to write (.safetensors, .npy or .csv)")->required();
  add_image_model(command, request.with);
  EncodeOptions& options = request.options;
  CLI::Option* layers = add_parsed(command, "--layers", options.layers, parse_layers,
                                   "blocks, from 1, whose outputs are joined, such as 9,12;\ndefault: the last");
  layers->type_name("LIST");
  CLI::Option* tokens =
      add_parsed(command, "--tokens", options.tokens, parse_image_tokens,
                 "cls (default), patches, mean (of the patches), cls+mean,\nor all: class token, registers, patches");
  tokens->type_name("TOKENS");
  CLI::Option* raw = command->add_flag_callback(
      "--pre-norm", [&options] { options.normed = false; }, "without the model's last norm");
  CLI::Option* attention = command->add_option_function<std::string>(
      "--attention", [&options](const std::string& text) { read_attention(text, options); },
      "also write the class token's attention in a block, of all\nheads or one (from 0), to OUTPUT-attention/");
  attention->type_name("BLOCK[:HEAD]");
  add_file(command, "--pca", request.components,
           "also write a picture of the patches' first three\nprincipal components, of the first 16 images");
  add_file(command, "--connector", request.with.model.connector,
           "write patch tokens in the width of a language model\n(connector.* or mm_projector.* of a checkpoint)")
      ->excludes(layers)
      ->excludes(tokens)
      ->excludes(raw)
      ->excludes(attention);
  command->add_flag("--overwrite", request.overwrite, "begin anew, also where other features are");
  command->add_flag("--quiet", request.quiet, "nothing on stderr but errors");
  command->add_flag("--json", request.as_json, "one line of JSON an image on stdout, and nothing else there");
  command->footer(
      R"(The model is RAD-DINO, another of DINOv2's kind, or ECAMP: known by its tensors, under Hugging Face's
names or DINOv2's. Images are prepared as its published processor does it, and are known in the
features by their files' names. docs/radiographs.md says what lies in the files.

Features wait in OUTPUT.partial until all images are done: a run that was ended goes on where it was
when the same command is given again, and images that were added join those that are there. One that
cannot be read stops no other; the run ends with status 2 then. OUTPUT.json beside the features is
the manifest. Features have the same bits for any batch and number of threads.

Examples:
  sat encode images/ --model rad-dino.safetensors -o features.safetensors
  sat encode a.png b.png --model rad-dino.safetensors -o patches.npy --tokens patches --layers 9,12
  sat encode a.png --model rad-dino.safetensors -o a.npy --attention 12 --pca a-components.png
  sat encode a.png --model rad-dino.safetensors -o tokens.npy --connector projector.safetensors)");
  return command;
}

}  // namespace sat::cli
