// Probe files: they read back, fit only the features that they were made on, and malformed ones are refused. Labels
// too.
#include <doctest/doctest.h>

#include <functional>
#include <limits>
#include <map>
#include <string>

#include "sat/io/checkpoints/safetensors.h"
#include "sat/io/features/labels.h"
#include "sat/io/files/file.h"
#include "sat/nn/probe/probe_file.h"
#include "tests/support/golden.h"

using namespace sat;
using namespace sat::test;

namespace {

ProbeFile two_labels() {
  ProbeFile file;
  file.probe.labels = {"effusion", "no \"finding\", none"};
  file.probe.weight = field("weight", {2, 3}, 1);
  file.probe.bias = field("bias", {2}, 1);
  file.probe.mean = field("mean", {3}, 1);
  file.probe.deviation = field("deviation", {3}, 0.5, 1);
  file.probe.thresholds = {0.25, 0.5};
  file.source.model = "rad-dino";
  file.source.identity = std::string(64, 'a');
  file.source.layers = {12};
  file.source.tokens = "cls";
  file.training = Json::object({{"method", "lbfgs"}});
  return file;
}

std::string refusal(const std::function<void()>& body) {
  try {
    body();
    return "taken";
  } catch (const Error& error) {
    return error.what();
  }
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

using Tensors = std::map<std::string, Tensor>;
using Metadata = std::map<std::string, std::string>;

/// What reading says of a good file with some tensors and texts replaced; one that is empty is left out.
std::string reading(const Tensors& other, const Metadata& words) {
  const TempDir folder;
  const ProbeFile file = two_labels();
  Tensors tensors = {{"weight", file.probe.weight},
                     {"bias", file.probe.bias},
                     {"mean", file.probe.mean},
                     {"deviation", file.probe.deviation}};
  Metadata metadata = {{"format", "sat-probe"},     {"version", "1"}, {"task", "labels"},
                       {"labels", R"(["a", "b"])"}, {"source", "{}"}, {"thresholds", "[0.5, 0.5]"},
                       {"training", "{}"}};
  for (const auto& [name, tensor] : other) {
    tensors.erase(name);
    if (!tensor.empty()) tensors.emplace(name, tensor);
  }
  for (const auto& [key, text] : words) {
    metadata.erase(key);
    if (!text.empty()) metadata.emplace(key, text);
  }
  write_safetensors(folder / "p", tensors, metadata);
  return refusal([&] { read_probe(folder / "p"); });
}

std::string labels_from(const std::string& table, const LabelOptions& options = {}) {
  const TempDir folder;
  write_file_atomically(folder / "l.csv", table);
  return refusal([&] { read_labels(folder / "l.csv", options); });
}

Labels good_labels(const std::string& table, const LabelOptions& options = {}) {
  const TempDir folder;
  write_file_atomically(folder / "l.csv", table);
  return read_labels(folder / "l.csv", options);
}

}  // namespace

TEST_CASE("a probe reads back to the bit") {
  const TempDir folder;
  const ProbeFile file = two_labels();
  write_probe(folder / "p.safetensors", file);
  CHECK(is_probe(open_checkpoint(folder / "p.safetensors")));
  const ProbeFile read = read_probe(folder / "p.safetensors");
  CHECK(read.probe.labels == file.probe.labels);
  CHECK(read.probe.thresholds == file.probe.thresholds);
  CHECK(!read.probe.exclusive);
  CHECK(mismatch(read.probe.weight, file.probe.weight, {}) == "");
  CHECK(mismatch(read.probe.deviation, file.probe.deviation, {}) == "");
  CHECK(to_json(read.source).dump() == to_json(file.source).dump());
}

TEST_CASE("a probe is refused for features of another model, layer, token or width") {
  const ProbeFile file = two_labels();
  FeatureSource same = file.source, unknown;
  CHECK(refusal([&] { check_fits(file, "p", same, 3, "f"); }) == "taken");
  CHECK(contains(refusal([&] { check_fits(file, "p", same, 4, "f"); }), "4 channels, the probe p takes 3"));
  FeatureSource other = same;
  other.identity = std::string(64, 'b');
  CHECK(
      contains(refusal([&] { check_fits(file, "p", other, 3, "f"); }), "f does not fit the probe p: the model's file"));
  other = same;
  other.tokens = "mean";
  CHECK(contains(refusal([&] { check_fits(file, "p", other, 3, "f"); }), "the tokens are mean, not cls"));
  CHECK(contains(refusal([&] { check_fits(file, "p", unknown, 3, "f"); }), "the model is not recorded, not rad-dino"));
}

TEST_CASE("malformed probes are refused in one sentence") {
  REQUIRE(reading({}, {}) == "taken");
  CHECK(contains(reading({}, {{"format", "pt"}}), "format is 'pt'"));
  CHECK(contains(reading({}, {{"format", ""}}), "without \"format\""));
  CHECK(contains(reading({}, {{"version", "9"}}), "version '9'"));
  CHECK(contains(reading({}, {{"task", "regression"}}), "task is 'regression'"));
  CHECK(contains(reading({}, {{"labels", R"(["a"])"}}), "1 labels and a weight of shape [2, 3]"));
  CHECK(contains(reading({}, {{"labels", R"([1, 2])"}}), "string"));
  CHECK(contains(reading({}, {{"labels", "[]"}}), "0 labels"));
  CHECK(contains(reading({}, {{"labels", "nonsense"}}), "labels"));
  CHECK(contains(reading({}, {{"thresholds", "[0.5]"}}), "1 thresholds for 2 labels"));
  CHECK(contains(reading({}, {{"thresholds", "[0.5, 2]"}}), "a threshold of 2"));
  CHECK(contains(reading({}, {{"source", "{\"layers\": \"all\"}"}}), "where features come from"));
  CHECK(contains(reading({{"bias", field("b", {3}, 1)}}, {}), "the bias has shape [3]"));
  CHECK(contains(reading({{"bias", {}}}, {}), "bias"));
  CHECK(contains(reading({{"mean", field("b", {2}, 1)}}, {}), "the mean [2]"));
  CHECK(contains(reading({{"weight", field("b", {6}, 1)}}, {}), "a weight of shape [6]"));
  CHECK(contains(reading({{"weight", full({2, 3}, std::numeric_limits<float>::infinity())}}, {}), "must be finite"));
  CHECK(contains(reading({{"bias", from_ids({2}, {1, 2})}}, {}), "must be finite floats"));
  CHECK(contains(reading({{"deviation", full({3}, 0)}}, {}), "deviation of channel 0 is 0"));
  CHECK(contains(reading({{"more", field("m", {1}, 1)}}, {}), "no tensor 'more'"));
}

TEST_CASE("labels are 1, 0 and nothing, classes anything else in one column") {
  const Labels labels = good_labels("image,a,b,patient\nx,1,0,p1\ny,,1.0,p2\n", [] {
    LabelOptions options;
    options.group = "patient";
    return options;
  }());
  CHECK(labels.names == std::vector<std::string>{"a", "b"});
  CHECK(labels.groups == std::vector<std::string>{"p1", "p2"});
  CHECK(labels.state(0, 0) == LabelState::present);
  CHECK(labels.state(1, 0) == LabelState::unknown);
  CHECK(labels.state(1, 1) == LabelState::present);

  const Labels classes = good_labels("image,kind\nx,10\ny,9\nz,\n");
  CHECK(classes.exclusive);
  CHECK(classes.names == std::vector<std::string>{"9", "10"});
  CHECK(classes.state(0, 1) == LabelState::present);
  CHECK(classes.state(0, 0) == LabelState::absent);
  CHECK(classes.state(2, 0) == LabelState::unknown);
  LabelOptions as_classes;
  as_classes.task = LabelTask::classes;
  CHECK(good_labels("image,kind\nx,0\ny,1\n", as_classes).exclusive);
  CHECK(!good_labels("image,kind\nx,0\ny,1\n").exclusive);

  LabelOptions absent;
  absent.uncertain = Uncertain::absent;
  CHECK(good_labels("image,a\nx,-1\n", absent).state(0, 0) == LabelState::absent);
}

TEST_CASE("malformed labels are refused with the line") {
  CHECK(contains(labels_from("image,a,b\nx,1,2\n"), "line 2, column 'b': '2' is not 1, 0 or nothing"));
  CHECK(contains(labels_from("image,a,b\nx,1,nan\n"), "'nan' is not"));
  CHECK(contains(labels_from("image,a\nx,-1\n"), "-1 (uncertain) must be said"));
  CHECK(contains(labels_from("image,a\nx,1\nx,0\n"), "line 3: image 'x' stands there twice"));
  CHECK(contains(labels_from("image,a\n,1\n"), "line 2: no name"));
  CHECK(contains(labels_from("image\nx\n"), "0 columns of labels"));
  CHECK(contains(labels_from("image,a\n"), "no line after the header"));
  CHECK(contains(labels_from("image,a\nx,1,2\n"), "line 2"));
  LabelOptions missing;
  missing.columns = {"c"};
  CHECK(contains(labels_from("image,a\nx,1\n", missing), "c"));
  missing.columns = {"a", "a"};
  CHECK(contains(labels_from("image,a\nx,1\n", missing), "asked for twice"));
  missing.columns = {"image"};
  CHECK(contains(labels_from("image,a\nx,1\n", missing), "column of images"));
}

TEST_CASE("features and labels meet by name, and where none does both sides are named") {
  FeatureSet features;
  features.images = {"b", "c", "a"};
  features.path = "f.npy";
  const Labels labels = good_labels("image,a\na,1\nz,0\nb,0\n");
  const LabelledRows joined = join(features, labels, "l.csv");
  CHECK(joined.rows == std::vector<int64_t>{0, 2});
  CHECK(joined.labels == std::vector<int64_t>{2, 0});
  CHECK(joined.features_left == 1);
  CHECK(joined.labels_left == 1);
  features.images = {"a.png"};
  CHECK(contains(refusal([&] { join(features, labels, "l.csv"); }),
                 "no image of f.npy (such as 'a.png') is in l.csv (such as 'a')"));
}
