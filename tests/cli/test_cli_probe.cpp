// sat probe from outside: a probe is fitted, applied and judged, and what does not fit is refused.
#include <doctest/doctest.h>

#include <filesystem>
#include <string>

#include "sat/io/features/feature_writer.h"
#include "sat/io/files/file.h"
#include "sat/io/words/json.h"
#include "tests/support/decode_png.h"
#include "tests/support/program.h"

using namespace sat;
using namespace sat::test;

namespace {

/// Features of 120 images, and labels that follow two of the channels; a patient has two images.
struct Study {
  TempDir folder;
  std::string features = folder / "f.safetensors", labels = folder / "l.csv", classes = folder / "c.csv",
              probe = folder / "p.safetensors";

  Study() {
    FeatureSet set;
    set.features = field("features", {120, 5}, 1);
    set.path = features;
    set.source.model = "rad-dino";
    set.source.layers = {12};
    set.source.remark = "untrained weights";
    std::string of_labels = "image,effusion,\"nodule, mass\",patient\n", of_classes = "image,kind\n";
    for (int64_t i = 0; i < 120; ++i) {
      const float* row = set.features.data<float>() + 5 * i;
      const std::string name = "image " + std::to_string(i);
      set.images.push_back(name);
      of_labels += name + "," + (row[0] > 0.2F ? "1" : "0") + "," +
                   (i % 9 == 0        ? ""
                    : row[1] > row[2] ? "1"
                                      : "0") +
                   ",p" + std::to_string(i / 2) + "\n";
      of_classes += name + "," + (row[3] > 0.3F ? "high" : row[3] > -0.3F ? "middle" : "low") + "\n";
    }
    write_features(set, "0");
    write_file_atomically(labels, of_labels);
    write_file_atomically(classes, of_classes);
  }

  Ran fit(const Words& more = {}) const {
    Words words = {"probe", "fit", features, labels, "-o", probe, "--group", "patient", "--samples", "50"};
    words.insert(words.end(), more.begin(), more.end());
    return sat_run(words);
  }
};

}  // namespace

TEST_CASE("a probe is fitted on features and labels, applied to features, and judged") {
  const Study study;
  const std::string chart = study.folder / "c.png", predictions = study.folder / "out.csv";
  const Ran fitted = study.fit({"--test-share", "0.3", "--json", "-", "--chart", chart});
  REQUIRE(fitted.status == 0);
  const Json report = Json::parse(fitted.out, "stdout");
  CHECK(report["test"]["labels"].size() == 2);
  CHECK(report["test"]["mean"]["auc"]["value"].number() > 0.9);
  CHECK(report["training"]["training_images"].integer() + report["training"]["validation_images"].integer() +
            report["training"]["test_images"].integer() ==
        120);
  CHECK(report["source"]["remark"].string() == "untrained weights");
  CHECK(decode_png(read_text(chart)).shape[2] == 3);

  const Ran predicted = sat_run({"probe", "predict", study.features, "--probe", study.probe, "-o", predictions,
                                 "--labels", study.labels, "--group", "patient", "--samples", "50"});
  CHECK(predicted.status == 0);
  CHECK(contains(predicted.out, "nodule, mass"));
  CHECK(contains(predicted.out, "The features: untrained weights"));
  const std::string table = read_text(predictions);
  CHECK(table.rfind("image,effusion,\"nodule, mass\"\nimage 0,0.", 0) == 0);
  CHECK(std::count(table.begin(), table.end(), '\n') == 121);
}

TEST_CASE("the same command gives the same bytes for any number of threads") {
  const Study study;
  REQUIRE(study.fit({"--threads", "1", "--json", study.folder / "1.json"}).status == 0);
  const std::string probe = read_text(study.probe);
  REQUIRE(study.fit({"--threads", "4", "--json", study.folder / "4.json"}).status == 0);
  CHECK(read_text(study.probe) == probe);
  CHECK(read_text(study.folder / "4.json") == read_text(study.folder / "1.json"));
}

TEST_CASE("classes are fitted by the official recipe, and the most likely one is named") {
  const Study study;
  const std::string out = study.folder / "out.csv";
  REQUIRE(sat_run({"probe", "fit", study.features, study.classes, "-o", study.probe, "--method", "sgd", "--steps",
                   "200", "--samples", "50", "--balanced"})
              .status == 0);
  const Ran ran = sat_run({"probe", "predict", study.features, "--probe", study.probe, "-o", out, "--labels",
                           study.classes, "--samples", "50", "--json", "-"});
  REQUIRE(ran.status == 0);
  CHECK(Json::parse(ran.out, "stdout")["scores"]["mean"]["accuracy"]["value"].number() > 0.7);
  CHECK(read_text(out).rfind("image,high,low,middle,predicted class\n", 0) == 0);
}

TEST_CASE("validation images are those of a column, a list or another file") {
  const Study study;
  std::string split = "image,effusion,part\n", list;
  const Tensor x = field("features", {120, 5}, 1);
  for (int i = 0; i < 120; ++i) {
    const std::string name = "image " + std::to_string(i);
    split += name + "," + (x.data<float>()[5 * i] > 0.2F ? "1" : "0") + "," +
             (i < 60    ? "train"
              : i < 90  ? "val"
              : i < 115 ? "test"
                        : "") +
             "\n";
    if (i >= 100) list += name + "\n";
  }
  write_file_atomically(study.folder / "s.csv", split);
  write_file_atomically(study.folder / "list", list);
  const auto report = [&](const Words& more) {
    Words words = {"probe",     "fit",       study.features, study.folder / "s.csv",
                   "-o",        study.probe, "--samples",    "0",
                   "--columns", "effusion",  "--json",       "-"};
    words.insert(words.end(), more.begin(), more.end());
    const Ran ran = sat_run(words);
    return ran.status == 0 ? Json::parse(ran.out, "stdout")["training"]["validation_images"].integer() : -1;
  };
  CHECK(report({"--split", "part"}) == 30);
  CHECK(report({"--val-list", study.folder / "list"}) == 20);
  CHECK(report({"--val-features", study.features}) == 120);
  CHECK(report({"--val-share", "0.5"}) == 60);
  CHECK(report({"--val-share", "0.5", "--split", "part"}) == -1);
}

TEST_CASE("what cannot be fitted or applied is refused in one sentence, and nothing is written") {
  const Study study;
  const auto refused = [&](const Ran& ran, const std::string& why) {
    return ran.status == 1 && contains(ran.err, why) ? "" : ran.err;
  };
  CHECK(refused(sat_run({"probe", "fit", study.features, study.labels, "-o", study.probe}), "column 'patient'") == "");
  CHECK(refused(study.fit({"--candidates", "1,2", "--val-share", "0"}), "no validation rows") == "");
  CHECK(refused(study.fit({"--candidates", "-1"}), "a penalty of -1") == "");
  CHECK(!std::filesystem::exists(study.probe));
  CHECK(study.fit({"--candidates", "1,x"}).status == 64);
  CHECK(study.fit({"--chart", "c.jpg"}).status == 64);
  CHECK(sat_run({"probe"}).status == 64);
  REQUIRE(study.fit().status == 0);

  FeatureSet other;
  other.features = field("other", {3, 5}, 1);
  other.images = {"x", "y", "z"};
  other.path = study.folder / "other.npy";
  other.source.model = "ecamp";
  write_features(other, "0");
  const Words apply = {"probe", "predict", other.path, "--probe", study.probe, "-o", study.folder / "out.csv"};
  CHECK(refused(sat_run(apply), "the model is ecamp, not rad-dino") == "");
  CHECK(refused(sat_run({"probe", "predict", study.features, "--probe", study.features, "-o", "out.csv"}),
                "a probe's is 'sat-probe'") == "");
  const Ran json = sat_run({"probe", "predict", "none.npy", "--probe", study.probe, "-o", "out.csv", "--json", "-"});
  CHECK(json.status == 1);
  CHECK(Json::parse(json.out, "stdout")["error"]["kind"].string() == "input");
}
