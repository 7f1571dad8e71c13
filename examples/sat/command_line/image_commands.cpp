// sat encode, classify, segment2d, detect and nearest: networks over radiographs.
#include "examples/sat/command_line/commands.h"
#include "examples/sat/command_line/options.h"

namespace sat::cli {

namespace {

constexpr int64_t kLargestSize = 8192, kLargestBatch = 1024;

constexpr const char* kImages = "images (PNG, JPEG, TIFF, DICOM where built in), or folders of them";

/// How the encoder is opened; ECAMP's fine-tuned networks need none of this.
void add_encoder(CLI::App* command, ImageModelChoice& choice) {
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
}

/// How images are read, and where and how it is computed.
void add_run(CLI::App* command, ImageModelChoice& choice) {
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

void add_labels(CLI::App* command, std::vector<std::string>& labels) {
  add_parsed(command, "--labels", labels, parse_list, "names of the model's classes, in order")->type_name("LIST");
}

void add_saying(CLI::App* command, bool& quiet, bool& as_json) {
  command->add_flag("--quiet", quiet, "nothing on stderr but errors");
  command->add_flag("--json", as_json, "one line of JSON an image on stdout, and nothing else there");
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
  add_words(command, "IMAGE", request.images, kImages);
  add_file(command, "-o,--output", request.output, "the features to write (.safetensors, .npy or .csv)")->required();
  add_file(command, "--model", request.with.model.model, "the encoder (.safetensors, .bin, .pth)")->required();
  add_encoder(command, request.with);
  add_run(command, request.with);
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

CLI::App* add_classify(CLI::App& program, ClassifyRequest& request) {
  CLI::App* command = program.add_subcommand("classify", "Score radiographs by a probe, or by ECAMP's classifier");
  add_words(command, "IMAGE", request.images, kImages);
  add_file(command, "--model", request.with.model.model, "the encoder of a probe, or a classifier of ECAMP's")
      ->required();
  CLI::Option* probe = add_file(command, "--probe", request.probe, "a probe on the encoder's features (sat probe fit)");
  add_file(command, "-o,--output", request.output, "the table to write (.csv); default: stdout");
  add_parsed(command, "--labels", request.labels, parse_list, "names of ECAMP's classes, in order")
      ->type_name("LIST")
      ->excludes(probe);
  command->add_flag("--one-class", request.one_class, "ECAMP's classes exclude each other: softmax, not sigmoid")
      ->excludes(probe);
  add_encoder(command, request.with);
  add_run(command, request.with);
  add_saying(command, request.quiet, request.as_json);
  command->footer(
      R"(Writes a line an image: its name, and the probability of each label. A probe says which layers, tokens
and preparation it was fitted on; a model or options that give other features are refused.

Examples:
  sat classify images/ --model rad-dino.safetensors --probe pneumonia.safetensors -o scores.csv
  sat classify a.png --model ecamp-rsna.pth --labels pneumonia --json)");
  return command;
}

CLI::App* add_segment2d(CLI::App& program, Segment2dRequest& request) {
  CLI::App* command = program.add_subcommand("segment2d", "Find structures in radiographs: masks on their own pixels");
  ImageModelOptions& options = request.with.model;
  add_words(command, "IMAGE", request.images, kImages);
  add_file(command, "--model", options.model, "the encoder of a head, or a segmenter of ECAMP's")->required();
  CLI::Option* head = add_file(command, "--head", options.head, "a head on patch features: linear, or UPerNet");
  add_parsed(command, "--layers", options.head_layers, parse_layers,
             "blocks, from 1, whose maps the head takes; default: the last\none, and for UPerNet quarters of the depth")
      ->type_name("LIST")
      ->needs(head);
  add_parsed(command, "--pool-scales", options.pool_scales, parse_layers, "of UPerNet; default: 1,2,3,6")
      ->type_name("LIST")
      ->needs(head);
  command->add_option("-o,--output", request.output, "where the images' folders go")->type_name("DIR")->required();
  add_labels(command, request.labels);
  command->add_flag("--each", request.each, "classes may overlap: each is where its own logit is above 0")->needs(head);
  add_encoder(command, request.with);
  add_run(command, request.with);
  command->add_flag("--overwrite", request.overwrite, "make results again, also where somebody changed them");
  add_saying(command, request.quiet, request.as_json);
  command->footer(
      R"(Each image gets a folder DIR/NAME with mask.png (the number of each pixel's class, 0 the background;
255: the model did not see it) or a black and white mask-CLASS.png each, overlay.png and
statistics.json, all on the image's own pixels. Results that are there are not made again; one of
another image or setting, or that somebody changed, is refused without --overwrite.

Examples:
  sat segment2d images/ --model rad-dino.safetensors --head lungs.safetensors --labels background,left,right -o masks
  sat segment2d a.png --model ecamp-siim.pth -o masks)");
  return command;
}

CLI::App* add_detect(CLI::App& program, DetectRequest& request) {
  CLI::App* command = program.add_subcommand("detect", "Find boxes in radiographs by ECAMP's detector");
  add_words(command, "IMAGE", request.images, kImages);
  add_file(command, "--model", request.with.model.model, "a detector of ECAMP's (.safetensors, .pth)")->required();
  add_file(command, "-o,--output", request.output, "the table to write (.csv); default: stdout");
  command->add_option("--pictures", request.pictures, "also draw the boxes, as NAME-boxes.png in this folder")
      ->type_name("DIR");
  add_labels(command, request.labels);
  command->add_option("--confidence", request.confidence, "least objectness of a box; default: 0.5")
      ->type_name("P")
      ->check(CLI::Range(0.0, 1.0));
  command->add_option("--overlap", request.overlap, "of two boxes that overlap so much one stays; default: 0.5")
      ->type_name("P")
      ->check(CLI::Range(0.0, 1.0));
  add_run(command, request.with);
  add_saying(command, request.quiet, request.as_json);
  command->footer(R"(Writes a line a box, in pixels of the image from its upper left corner: left, top, right, bottom,
objectness, score and class. An image without boxes has no line.

Examples:
  sat detect images/ --model ecamp-detection.pth -o boxes.csv --pictures drawn)");
  return command;
}

CLI::App* add_nearest(CLI::App& program, NearestRequest& request) {
  CLI::App* command = program.add_subcommand("nearest", "Find the images whose features are most like those of others");
  add_words(command, "QUERY", request.queries, "image files, or names of images in the features");
  add_file(command, "--in", request.in, "features (sat encode), or a folder of images to encode now")->required();
  add_file(command, "--model", request.with.model.model, "the encoder, where images must be encoded");
  command->add_option("-k,--count", request.count, "neighbours of each query; default: 5")
      ->type_name("N")
      ->check(CLI::Range(int64_t(1), int64_t(100)));
  add_file(command, "-o,--sheet", request.output, "also write a sheet of pictures (.png)");
  command->add_option("--images", request.folder, "where the images of the features lie, for the sheet")
      ->type_name("DIR");
  add_encoder(command, request.with);
  add_run(command, request.with);
  add_saying(command, request.quiet, request.as_json);
  command->footer(R"(Prints a line a neighbour: query, rank, image and the cosine between the features. An image is no
neighbour of itself. Features that were made by another model or preparation are not compared.

Examples:
  sat nearest 00000001_000.png --in features.safetensors --images images -o sheet.png
  sat nearest new.png --in features.safetensors --model rad-dino.safetensors -k 10)");
  return command;
}

}  // namespace sat::cli
