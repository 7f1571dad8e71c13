// sat detect: radiographs to boxes on their own pixels, by ECAMP's detector, as a table and drawn on pictures.
#include <filesystem>
#include <map>

#include "examples/sat/command_line/command_line.h"
#include "examples/sat/interrupt.h"
#include "examples/sat/output/failure.h"
#include "examples/sat/pictures/canvas.h"
#include "examples/sat/pictures/overlays.h"
#include "examples/sat/radiographs/ecamp_network.h"
#include "examples/sat/radiographs/input/image_reports.h"
#include "sat/io/pictures/png.h"
#include "sat/io/tables/csv.h"
#include "sat/io/words/safe_name.h"
#include "sat/io/words/text.h"

namespace sat::cli {

namespace {

constexpr int64_t kLongest = 1024;  // pixels of a picture's longer side

/// A detection on the image's own pixels.
struct Found {
  std::array<double, 4> box;
  double objectness, score;
  int64_t category;
};

std::vector<Found> on_image(const std::vector<Detection>& detections, const ImagePlacement& placement) {
  std::vector<Found> found;
  for (const Detection& one : detections) {
    found.push_back(
        {box_on_image({one.left, one.top, one.right, one.bottom}, placement), one.objectness, one.score, one.category});
  }
  return found;
}

Tensor picture_with(const ReadyImage& image, const std::vector<Found>& found, const std::vector<std::string>& labels,
                    const std::string& remark) {
  Tensor picture = picture_of(image.loaded.image, kLongest);
  const double scale = double(picture.shape[1]) / double(image.loaded.image.width());
  for (const Found& one : found) {
    std::array<double, 4> box = one.box;
    for (double& side : box) side *= scale;
    draw_box(picture, box, labels[size_t(one.category)] + " " + fixed(one.objectness, 2), one.category);
  }
  std::vector<Line> lines{{image.listed.name},
                          {std::to_string(found.size()) + (found.size() == 1 ? " box" : " boxes"), kFaint}};
  for (const Line& line : remark_lines(remark)) lines.push_back(line);
  return with_lines(picture, lines);
}

}  // namespace

int run(const DetectRequest& request) {
  const std::vector<ListedImage> images = list_images(request.images);
  ProgressView view(request.quiet);
  view.start("detect");
  view.stage("loading the model");
  const EcampNetwork network(request.with, EcampKind::detection, "detect");
  UseContext use(network.context());
  const std::vector<std::string> labels = class_names(request.labels, network.model().classes());
  const std::string& remark = network.model().remark();
  const int64_t batch = network.batch();
  std::vector<std::string> names;
  for (const ListedImage& image : images) names.push_back(image.name);
  std::map<std::string, std::string> files;
  const std::vector<std::string> safe = safe_names(names);
  for (size_t i = 0; i < names.size(); ++i) files[names[i]] = safe[i];
  if (!request.pictures.empty()) {
    failing_as(FailureKind::output, [&] { make_folder(request.pictures); });
  }
  watch_for_interrupts();

  std::string table =
      std::string("image,left,top,right,bottom,objectness,score,class") + (remark.empty() ? "\n" : ",remark\n");
  ImageReports reports(view, request.as_json, int64_t(images.size()));
  BatchSteps steps;
  steps.wanted = [](const ListedImage&) { return true; };
  steps.batch = [&](const std::vector<ReadyImage>& ready) {
    const auto all = network.model().detect(joined_inputs(ready), request.confidence, request.overlap);
    for (size_t i = 0; i < ready.size(); ++i) {
      const std::vector<Found> found = on_image(all[i], ready[i].prepared.placement);
      Json boxes = Json::array();
      for (const Found& one : found) {
        append_csv_field(table, ready[i].listed.name);
        Json box = Json::array();
        for (const double side : one.box) {
          box.push(side);
          table += "," + fixed(side, 2);
        }
        table += "," + significant(one.objectness, 6) + "," + significant(one.score, 6) + ",";
        append_csv_field(table, labels[size_t(one.category)]);
        if (!remark.empty()) table += "," + remark;
        table += "\n";
        boxes.push(Json::object({{"box", box},
                                 {"objectness", one.objectness},
                                 {"score", one.score},
                                 {"class", labels[size_t(one.category)]}}));
      }
      if (!request.pictures.empty()) {
        const std::string path = request.pictures + "/" + files.at(ready[i].listed.name) + "-boxes.png";
        failing_as(FailureKind::output, [&] { write_png(path, picture_with(ready[i], found, labels, remark)); });
      }
      reports.done(ready[i], {{"boxes", boxes}});
    }
  };
  steps.failed = [&](const ListedImage& image, const std::exception& error) { reports.failed(image, error); };
  steps.progress = [&](int64_t looked_at) { reports.progress(looked_at); };
  in_batches(network.reader(), images, batch, steps);
  view.clear();
  if (!request.output.empty() || !request.as_json) write_table(request.output, table);
  reports.finish("", {}, remark);
  return reports.status();
}

}  // namespace sat::cli
