// sat segment2d: radiographs to masks on their own pixels, by a head on an encoder's features or by ECAMP's segmenter.
#include <filesystem>
#include <functional>
#include <map>

#include "examples/sat/command_line/command_line.h"
#include "examples/sat/interrupt.h"
#include "examples/sat/output/failure.h"
#include "examples/sat/radiographs/ecamp_network.h"
#include "examples/sat/radiographs/image_encoder.h"
#include "examples/sat/radiographs/input/image_reports.h"
#include "examples/sat/radiographs/mask_folder.h"
#include "examples/sat/segment/case_folder.h"
#include "sat/io/files/hash.h"
#include "sat/io/words/safe_name.h"

namespace sat::cli {

namespace {

/// What turns a batch into logits [B, h, w, K], and what its answers are.
struct Segmenter {
  MaskSettings settings;
  std::function<Tensor(const Tensor& images)> logits;
};

int segment(const Segment2dRequest& request, const std::vector<ListedImage>& images, const ImageReader& reader,
            int64_t batch, const Segmenter& segmenter, ProgressView& view) {
  failing_as(FailureKind::output, [&] {
    make_folder(request.output);
    clean_output_folder(request.output);
  });
  std::vector<std::string> names;
  for (const ListedImage& image : images) {
    names.push_back(std::filesystem::path(image.name).stem().string());
  }
  const std::vector<std::string> safe = safe_names(names);
  std::map<std::string, std::string> folders;
  for (size_t i = 0; i < images.size(); ++i) folders[images[i].path] = request.output + "/" + safe[i];

  ImageReports reports(view, request.as_json, int64_t(images.size()));
  BatchSteps steps;
  steps.wanted = [&](const ListedImage& image) {
    if (!image.error.empty() || request.overwrite) return true;
    if (!has_masks(folders.at(image.path), sha256_of_file(image.path), segmenter.settings)) return true;
    reports.skipped(image);
    return false;
  };
  steps.batch = [&](const std::vector<ReadyImage>& ready) {
    const Tensor logits = segmenter.logits(joined_inputs(ready));
    for (size_t i = 0; i < ready.size(); ++i) {
      const std::string& folder = folders.at(ready[i].listed.path);
      try {
        const Json statistics = failing_as(FailureKind::output, [&] {
          return write_masks(folder, ready[i], logits.select(int64_t(i)), segmenter.settings, request.overwrite);
        });
        reports.done(ready[i], {{"folder", folder}, {"classes", statistics}});
      } catch (const Failure& error) {
        reports.failed(ready[i].listed, error);
      }
    }
  };
  steps.failed = [&](const ListedImage& image, const std::exception& error) { reports.failed(image, error); };
  steps.progress = [&](int64_t looked_at) { reports.progress(looked_at); };
  in_batches(reader, images, batch, steps);
  view.clear();
  reports.finish(request.output + ": ", {}, segmenter.settings.remark);
  return reports.status();
}

int by_head(const Segment2dRequest& request, const std::vector<ListedImage>& images, ProgressView& view) {
  const ImageEncoder encoder(request.with);
  UseContext use(encoder.context());
  const ImageModel& model = encoder.model();
  Json layers = Json::array();
  for (const int64_t layer : model.head_layers()) layers.push(layer);
  const bool each = request.each || model.classes() == 1;
  Segmenter segmenter;
  segmenter.settings = {class_names(request.labels, model.classes()), each, model.remark(),
                        Json::object({{"model_sha256", model.identity()},
                                      {"head_sha256", sha256_of_file(request.with.model.head)},
                                      {"layers", layers},
                                      {"interpolation", model.interpolation()},
                                      {"preprocessing", encoder.reader().to_json()}})};
  segmenter.logits = [&](const Tensor& inputs) { return model.segment(inputs); };
  const int64_t batch = encoder.batch(nullptr);
  watch_for_interrupts();
  return segment(request, images, encoder.reader(), batch, segmenter, view);
}

int by_ecamp(const Segment2dRequest& request, const std::vector<ListedImage>& images, ProgressView& view) {
  const EcampNetwork network(request.with, EcampKind::segmentation, "segment2d (without --head)");
  UseContext use(network.context());
  const EcampModel& model = network.model();
  const auto masks = int64_t(model.masks().size());
  Segmenter segmenter;
  segmenter.settings = {
      request.labels.empty() ? model.masks() : class_names(request.labels, masks), true, model.remark(),
      Json::object({{"model_sha256", model.identity()}, {"preprocessing", network.reader().to_json()}})};
  segmenter.logits = [&](const Tensor& inputs) { return model.segment(inputs); };
  const int64_t batch = network.batch();
  watch_for_interrupts();
  return segment(request, images, network.reader(), batch, segmenter, view);
}

}  // namespace

int run(const Segment2dRequest& request) {
  const std::vector<ListedImage> images = list_images(request.images);
  ProgressView view(request.quiet);
  view.start("segment2d");
  view.stage("loading the model");
  return request.with.model.head.empty() ? by_ecamp(request, images, view) : by_head(request, images, view);
}

}  // namespace sat::cli
