// The fine-tuned networks: what they give, their losses and scores, boxes and what is kept of them.
#include <numeric>

#include "sat/nn/image/ecamp/classifier.h"
#include "sat/nn/image/ecamp/detection/average_precision.h"
#include "sat/nn/image/ecamp/detection/detector.h"
#include "sat/nn/image/ecamp/detection/yolo_loss.h"
#include "sat/nn/image/ecamp/ecamp_config.h"
#include "sat/nn/image/ecamp/segmentation_scores.h"
#include "sat/nn/image/ecamp/segmenter.h"
#include "sat/nn/image/losses.h"
#include "tests/support/golden.h"
#include "tests/support/parity/ecamp/ecamp_parity.h"
#include "tests/support/parity/ecamp/sampling.h"
#include "tests/support/parity/recorded.h"

namespace sat::test {

namespace {

constexpr double kLimit = 2e-5;      // absolute; the official code in f32 is off by 3e-6
constexpr double kLossLimit = 1e-5;  // relative
constexpr double kBoxLimit = 1e-4;   // pixels; the official code in f32 is off by 4e-5
constexpr double kPixels = 224;      // of the side of the images that boxes lie on
constexpr double kDiceLimit = 3e-8;  // a pixel more is off by more than that; records are f32

struct Recorded {
  Json description, values;
  std::string folder, prefix;
  int64_t batch;

  explicit Recorded(const std::string& at)
      : description(read_json(at + "/case.json")),
        values(read_json(at + "/values.json")),
        folder(at),
        prefix(description["prefix"].string()),
        batch(description["batch"].integer()) {}

  std::string sampling(const char* of) const { return description["sampling"][of].string(); }
  std::string array(const std::string& name) const { return folder + "/" + name + ".npy"; }
};

Tensor images_of(const Recorded& recorded, const VitConfig& encoder) {
  const int64_t height = encoder.patch * encoder.table[0], width = encoder.patch * encoder.table[1];
  const Tensor grey = field(recorded.prefix + "ft_image", {recorded.batch, 1, height, width}, 1.6);
  return concat_channels(std::vector<Tensor>(3, channels_last(grey)));
}

ParityLine compare_loss(const std::string& name, double got, const Json& want) {
  return compare_number(name + ", relative", got / want.number(), 1, kLossLimit);
}

/// 1 where a number of the stream is below 0.3.
Tensor targets_of(const std::string& name, const Shape& shape) {
  const std::vector<double> draws = unit(name, shape.numel());
  Tensor targets(shape);
  for (size_t i = 0; i < draws.size(); ++i) targets.data<float>()[i] = draws[i] < 0.3 ? 1.f : 0.f;
  return targets;
}

/// Cells that satisfy `which`, as [image, anchor, row, column].
template <class Which>
std::vector<double> places_of(const std::vector<YoloCell>& cells, int64_t size, const Which& which) {
  std::vector<double> places;
  for (int64_t i = 0; i < int64_t(cells.size()); ++i) {
    if (!which(cells[size_t(i)])) continue;
    for (int64_t part : {i / (3 * size * size), i / (size * size) % 3, i / size % size, i % size}) {
      places.push_back(double(part));
    }
  }
  return places;
}

Json flattened(const Json& lists) {
  Json flat = Json::array();
  for (const Json& list : lists.items()) {
    for (const Json& each : list.items()) flat.push(each);
  }
  return flat;
}

std::array<double, 4> box_of(const Json& json) {
  const std::vector<double> sides = json.numbers();
  return {sides.at(0), sides.at(1), sides.at(2), sides.at(3)};
}

std::vector<std::vector<TrueBox>> truth_of(const Json& targets) {
  std::vector<std::vector<TrueBox>> truth;
  for (const Json& image : targets.items()) {
    truth.emplace_back();
    for (const Json& row : image.items()) {
      const std::vector<double> box = row.numbers();
      if (std::accumulate(box.begin(), box.end(), 0.) == 0) continue;  // padding
      truth.back().push_back({int64_t(box.at(0)), box.at(1), box.at(2), box.at(3), box.at(4)});
    }
  }
  return truth;
}

Tensor table_of(const std::vector<std::vector<double>>& rows) {
  Tensor table({int64_t(rows.size()), rows.empty() ? 0 : int64_t(rows[0].size())});
  float* to = table.data<float>();
  for (const std::vector<double>& row : rows) {
    for (double value : row) *to++ = float(value);
  }
  return table;
}

void compare_yolo_losses(const Recorded& recorded, std::vector<ParityLine>& lines) {
  const std::vector<std::vector<TrueBox>> truth = truth_of(recorded.description["targets"]);
  int64_t size = 7;
  for (size_t scale = 0; scale < 3; ++scale, size *= 2) {
    const std::string grid = std::to_string(size);
    const Json& record = recorded.values["loss"][grid];
    const Tensor numbers = channels_last(field(recorded.prefix + "yolo_" + grid, {recorded.batch, 18, size, size}, 1));
    const std::vector<YoloCell> cells = assign_boxes(truth, kEcampAnchors[scale], size, 1, kPixels);
    const YoloLoss loss = yolo_loss(numbers, cells);
    const std::pair<const char*, double> terms[] = {
        {"total", loss.total()},   {"x", loss.x},        {"y", loss.y}, {"w", loss.width}, {"h", loss.height},
        {"conf", loss.objectness}, {"cls", loss.classes}};
    for (const auto& [name, value] : terms) {
      lines.push_back(compare_loss("loss " + std::string(name) + " at " + grid, value, record[name]));
    }
    lines.push_back(compare_numbers("assigned at " + grid,
                                    places_of(cells, size, [](const YoloCell& cell) { return cell.assigned; }),
                                    flattened(record["assigned"]), 0));
    lines.push_back(compare_numbers("not empty at " + grid,
                                    places_of(cells, size, [](const YoloCell& cell) { return !cell.counts_as_empty; }),
                                    flattened(record["noobj_zero"]), 0));
  }
}

void compare_boxes(const Recorded& recorded, std::vector<ParityLine>& lines) {
  std::array<Tensor, 3> grids;
  int64_t size = 7;
  for (Tensor& grid : grids) {
    const std::string name = recorded.prefix + "yolo_" + std::to_string(size);
    grid = channels_last(field(name, {recorded.batch, 18, size, size}, 1));
    size *= 2;
  }
  const std::vector<std::vector<Candidate>> images = decode_boxes(grids, kPixels);
  std::vector<std::vector<double>> rows;
  for (const std::vector<Candidate>& candidates : images) {
    for (const Candidate& c : candidates) {
      rows.push_back({c.x, c.y, c.width, c.height, c.objectness, c.scores[0]});
    }
  }
  const Tensor decoded = table_of(rows).reshape({recorded.batch, int64_t(images[0].size()), 6});
  const Json& record = recorded.values["decode"];
  lines.push_back(compare_statistics("decoded", decoded, record["stat"], kBoxLimit));
  lines.push_back(compare_array("decoded, sampled", sampled(decoded, recorded.sampling("decode")),
                                recorded.array("decode"), kBoxLimit));
  const auto rows_of = [](const Json& list) {
    std::vector<std::vector<double>> listed;
    for (const Json& row : list.items()) listed.push_back(row.numbers());
    return table_of(listed);
  };
  lines.push_back(compare_array("decoded, first row of each image", sampled(decoded, "[:,0]"), rows_of(record["first"]),
                                kBoxLimit));
  lines.push_back(compare_array("decoded, last row of 7 x 7", sampled(decoded, "[:,146]"), rows_of(record["last_of_7"]),
                                kBoxLimit));
  const Json& nms = recorded.values["nms"];
  const double confidence = nms["confidence"].number();
  for (size_t image = 0; image < images.size(); ++image) {
    const std::string name = "nms-" + std::to_string(image);
    double sure = 0;
    for (const Candidate& candidate : images[image]) sure += candidate.objectness >= confidence ? 1 : 0;
    lines.push_back(compare_number(name + ", candidates", sure, nms["candidates"][image].number(), 0));
    rows.clear();
    for (const Detection& d : suppress(images[image], confidence, nms["iou"].number())) {
      rows.push_back({d.left, d.top, d.right, d.bottom, d.objectness, d.score, double(d.category)});
    }
    lines.push_back(compare_number(name + ", kept", double(rows.size()), nms["kept"][image].number(), 0));
    lines.push_back(compare_array(name + ", rows in order", table_of(rows), recorded.array(name), kBoxLimit));
  }
}

void compare_average_precision(const Recorded& recorded, std::vector<ParityLine>& lines) {
  const Json& record = recorded.values["map"];
  std::vector<ImageBoxes> images;
  for (size_t i = 0; i < record["truth"].size(); ++i) {
    ImageBoxes image;
    const Json& found = record["predictions"][i];
    for (size_t b = 0; b < found["scores"].size(); ++b) {
      image.found.push_back({box_of(found["boxes"][b]), found["scores"][b].number()});
    }
    for (const Json& box : record["truth"][i].items()) image.truth.push_back(box_of(box));
    images.push_back(std::move(image));
  }
  // Whole matches decide: a wrong one is off by a hundredth. The record was averaged in f32.
  lines.push_back(
      compare_number("mean average precision", mean_average_precision(images), record["map"].number(), 1e-7));
}

}  // namespace

std::vector<ParityLine> compare_ecamp_classification(const std::string& folder) {
  const Recorded recorded(folder);
  const EcampClassifierConfig config{ecamp_base().encoder, recorded.description["classes"].integer()};
  const EcampClassifier network(generated_downstream(recorded.prefix), config);
  const Tensor features = network.features(images_of(recorded, config.encoder));
  const Tensor logits = to_host(network.logits(features));
  std::vector<ParityLine> lines;
  lines.push_back(compare_statistics("feature", features, recorded.values["feature"], kLimit));
  lines.push_back(compare_array("feature, all", features, recorded.array("feature"), kLimit));
  lines.push_back(compare_array("logits", logits, recorded.array("logits"), kLimit));

  const Tensor labels = targets_of(recorded.prefix + "ft_labels", logits.shape);
  const std::vector<float> targets(labels.data<float>(), labels.data<float>() + labels.numel());
  lines.push_back(compare_numbers("labels", {targets.begin(), targets.end()}, flattened(recorded.values["labels"]), 0));
  std::vector<int64_t> classes;
  for (double draw : unit(recorded.prefix + "ft_class", recorded.batch)) {
    classes.push_back(int64_t(draw * double(config.classes)));
  }
  lines.push_back(compare_numbers("classes", {classes.begin(), classes.end()}, recorded.values["class"], 0));
  const double several = binary_cross_entropy(logits, targets);
  lines.push_back(
      compare_loss("cross-entropy", cross_entropy(logits, classes), recorded.values["cross_entropy"]["loss"]));
  lines.push_back(compare_loss("loss of several labels", several, recorded.values["multi_label"]["loss"]));
  lines.push_back(compare_loss("before the first step", several, recorded.values["multi_label"]["losses"][0]));
  lines.push_back(compare_loss("before the probe's step", several, recorded.values["linear_probe"]["loss"]));
  return lines;
}

std::vector<ParityLine> compare_ecamp_segmentation(const std::string& folder) {
  const Recorded recorded(folder);
  EcampSegmenterConfig config;
  config.encoder = ecamp_base().encoder;
  const EcampSegmenter network(generated_downstream(recorded.prefix), config);
  const Tensor map = network.patch_map(images_of(recorded, config.encoder));
  const Tensor output = channels_first(to_host(network.logits(map)));
  const Json& values = recorded.values;
  std::vector<ParityLine> lines;
  const auto compare = [&](const char* name, const Tensor& got) {
    lines.push_back(compare_statistics(name, got, values[name], kLimit));
    lines.push_back(compare_array(std::string(name) + ", sampled", sampled(got, recorded.sampling(name)),
                                  recorded.array(name), kLimit));
  };
  compare("encoder_map", channels_first(to_host(map)));
  compare("output", output);

  Tensor mask = targets_of(recorded.prefix + "seg_mask", output.shape);
  copy_into(mask, recorded.batch - 1, zeros(output.shape.with(0, 1)));
  lines.push_back(compare_loss("loss of the output", segmentation_loss(output, mask).total(), values["eval_loss"]));
  lines.push_back(compare_numbers("Dice of the output", dice_scores(output, mask), values["eval_dice"], kDiceLimit));

  const Shape shape(recorded.description["loss_shape"].integers());
  const Tensor logits = field(recorded.prefix + "seg_logits", shape, 3);
  const Tensor truth = targets_of(recorded.prefix + "seg_target", shape);
  const SegmentationLoss loss = segmentation_loss(logits, truth);
  lines.push_back(compare_loss("focal loss", loss.focal, values["loss"]["focal"]));
  lines.push_back(compare_loss("soft Dice", loss.dice, values["loss"]["dice"]));
  lines.push_back(compare_loss("loss", loss.total(), values["loss"]["total"]));
  lines.push_back(compare_numbers("Dice", dice_scores(logits, truth), values["dice_metric"], kDiceLimit));
  return lines;
}

std::vector<ParityLine> compare_ecamp_detection(const std::string& folder) {
  const Recorded recorded(folder);
  std::vector<ParityLine> lines;
  EcampDetectorConfig config;
  config.encoder = ecamp_base().encoder;
  for (int64_t expansion : recorded.description["expansions"].integers()) {
    const std::string e = std::to_string(expansion);
    for (size_t scale = 0; scale < 3; ++scale) config.bottleneck[scale] = config.pyramid[scale] / expansion;
    const EcampDetector network(generated_downstream(recorded.prefix), config);
    const std::array<Tensor, 3> grids = network(images_of(recorded, config.encoder));
    for (size_t scale = 0; scale < 3; ++scale) {
      const std::string name = "e" + e + "-out" + std::to_string(scale);
      const Tensor grid = channels_first(to_host(grids[scale]));
      lines.push_back(compare_statistics(name, grid, recorded.values["expansion_" + e]["outputs"][scale], kLimit));
      lines.push_back(compare_array(name + ", all", grid, recorded.array(name), kLimit));
    }
  }
  for (ParityLine& line : compare_ecamp_boxes(folder)) lines.push_back(std::move(line));
  return lines;
}

std::vector<ParityLine> compare_ecamp_boxes(const std::string& folder) {
  const Recorded recorded(folder);
  std::vector<ParityLine> lines;
  compare_boxes(recorded, lines);
  compare_yolo_losses(recorded, lines);
  compare_average_precision(recorded, lines);
  return lines;
}

}  // namespace sat::test
