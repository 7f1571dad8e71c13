// sat encode: radiographs to files of features, with attention maps, components and a language model's tokens.
#include <filesystem>

#include "examples/sat/command_line/command_line.h"
#include "examples/sat/interrupt.h"
#include "examples/sat/output/failure.h"
#include "examples/sat/output/progress.h"
#include "examples/sat/radiographs/feature_pictures.h"
#include "examples/sat/radiographs/image_encoder.h"
#include "examples/sat/radiographs/input/image_reports.h"
#include "sat/io/features/feature_writer.h"
#include "sat/io/files/hash.h"
#include "sat/io/words/safe_name.h"
#include "sat/io/words/text.h"

namespace sat::cli {

namespace {

namespace fs = std::filesystem;

/// An image's features.
Shape row_shape(const ImageEncoder& encoder, const EncodeRequest& request) {
  const ImageModel& model = encoder.model();
  const int64_t side = encoder.reader().preparation.size / model.patch(), patches = side * side;
  if (model.connector_width() > 0) return {patches, model.connector_width()};
  const auto layers = int64_t(std::max<size_t>(1, request.options.layers.size()));
  const int64_t C = model.width() * layers;
  switch (request.options.tokens) {
    case ImageTokens::patches: return {patches, C};
    case ImageTokens::all: return {model.special_tokens() + patches, C};
    case ImageTokens::cls_mean: return {C + model.width()};
    default: return {C};
  }
}

FeatureSource source_of(const ImageEncoder& encoder, const EncodeRequest& request) {
  FeatureSource source = encoder.source(request.options);
  if (encoder.model().connector_width() == 0) return source;
  source.tokens = "connector";
  source.preprocessing.set("connector_sha256", sha256_of_file(request.with.model.connector));
  return source;
}

class Encoding {
 public:
  Encoding(const EncodeRequest& request, const ImageEncoder& encoder, std::vector<ListedImage> images,
           ProgressView& view)
      : request_(request),
        encoder_(encoder),
        images_(std::move(images)),
        view_(view),
        reports_(view, request.as_json, int64_t(images_.size())),
        writer_(request.output, source_of(encoder, request), row_shape(encoder, request), SAT_VERSION,
                request.overwrite) {
    std::vector<std::string> names;
    for (const ListedImage& image : images_) names.push_back(image.name);
    const std::vector<std::string> files = safe_names(names);
    for (size_t i = 0; i < names.size(); ++i) file_names_[names[i]] = files[i];
    if (request.options.attention > 0) attention_folder_ = attention_folder(request.output);
  }

  int run(int64_t batch) {
    BatchSteps steps;
    steps.wanted = [&](const ListedImage& image) { return wanted(image); };
    steps.batch = [&](const std::vector<ReadyImage>& ready) { encode(ready); };
    steps.failed = [&](const ListedImage& image, const std::exception& error) { failed(image, error); };
    steps.progress = [&](int64_t looked_at) { reports_.progress(looked_at); };
    in_batches(encoder_.reader(), images_, batch, steps);

    std::vector<std::string> names;
    for (const ListedImage& image : images_) names.push_back(image.name);
    view_.stage("writing");
    const int64_t rows = failing_as(FailureKind::output, [&] { return writer_.finish(names); });
    reports_.finish(request_.output + ": ", {{"features", request_.output}, {"images", rows}},
                    encoder_.model().remark());
    return reports_.status();
  }

 private:
  bool wanted(const ListedImage& image) {
    const std::string identity = image.error.empty() ? sha256_of_file(image.path) : "";
    if (identity.empty() || !writer_.has(image.name, identity)) return true;
    if (!attention_folder_.empty() && !fs::exists(attention_file(image.name, ".png"))) return true;
    reports_.skipped(image);
    return false;
  }

  void encode(const std::vector<ReadyImage>& ready) {
    const Tensor inputs = joined_inputs(ready);
    EncodedImages encoded;
    if (encoder_.model().connector_width() > 0) {
      encoded.features = encoder_.model().connect(inputs);
    } else {
      encoded = encoder_.model().encode(inputs, request_.options);
    }
    for (size_t i = 0; i < ready.size(); ++i) {
      const ReadyImage& image = ready[i];
      failing_as(FailureKind::output, [&] {
        writer_.append(image.listed.name, image.identity, encoded.features.select(int64_t(i)));
        if (!attention_folder_.empty()) {
          const AttentionMaps maps = class_attention(encoded, int64_t(i));
          make_folder(attention_folder_);
          write_attention(maps, image, request_.options, encoder_.model().remark(),
                          attention_file(image.listed.name, ""));
        }
      });
      reports_.done(image);
    }
  }

  void failed(const ListedImage& image, const std::exception& error) {
    writer_.append_failure(image.name, "", message_of(error));
    reports_.failed(image, error);
  }

  std::string attention_file(const std::string& name, const char* extension) const {
    return attention_folder_ + "/" + file_names_.at(name) + "-block" + std::to_string(request_.options.attention) +
           (request_.options.head >= 0 ? "-head" + std::to_string(request_.options.head) : "") + extension;
  }

  const EncodeRequest& request_;
  const ImageEncoder& encoder_;
  std::vector<ListedImage> images_;
  ProgressView& view_;
  ImageReports reports_;
  FeatureWriter writer_;
  std::map<std::string, std::string> file_names_;
  std::string attention_folder_;
};

}  // namespace

int run(const EncodeRequest& request) {
  if (!is_utf8(request.output)) throw UsageError("the path " + sat::quoted(request.output) + " is not UTF-8");
  feature_form_of(request.output);
  if (fs::is_directory(request.output)) {
    throw Failure(FailureKind::output, "cannot write " + request.output + ": it exists and is a folder");
  }
  const std::vector<ListedImage> images = list_images(request.images);
  ProgressView view(request.quiet);
  view.start("encode");
  view.stage("loading the model");
  const ImageEncoder encoder(request.with);
  UseContext use(encoder.context());
  const bool connects = encoder.model().connector_width() > 0;
  const int64_t batch = encoder.batch(connects ? nullptr : &request.options);  // which also checks the options
  watch_for_interrupts();
  const int status = Encoding(request, encoder, images, view).run(batch);
  if (!request.components.empty()) {
    view.stage("components");
    failing_as(FailureKind::output, [&] { write_components(encoder, images, request.components); });
  }
  view.clear();
  return status;
}

}  // namespace sat::cli
