// sat classify, segment2d, detect and nearest from outside: what they write, on the images' own pixels, and what they
// refuse.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>

#include "sat/io/features/feature_set.h"
#include "sat/io/words/json.h"
#include "sat/nn/probe/probe_file.h"
#include "tests/support/decode_png.h"
#include "tests/support/image/radiographs.h"
#include "tests/support/image/tiny_ecamp.h"
#include "tests/support/program.h"

using namespace sat;
using namespace sat::test;

namespace {

struct Networks : Radiographs {
  std::string head = folder / "head.safetensors", upernet = folder / "upernet.safetensors",
              probe = folder / "probe.safetensors", classifier = folder / "classifier.safetensors",
              segmenter = folder / "segmenter.safetensors", detector = folder / "detector.safetensors",
              features = folder / "features.safetensors", out = folder / "out";

  Networks() {
    write_safetensors(head, tiny_head("linear", 3), {});
    write_safetensors(upernet, tiny_head("upernet", 2), {});
    write_safetensors(classifier, tensors_of(tiny_classifier()), {{"generated", "for tests"}});
    write_safetensors(segmenter, tensors_of(tiny_disc_and_cup()), {});
    write_safetensors(detector, tensors_of(tiny_detector()), {});
  }

  void encode(const Words& more = {}) const {
    Words words{"encode", images, "--model", model, "--device", "cpu", "-o", features};
    words.insert(words.end(), more.begin(), more.end());
    CHECK(sat_run(words).status == 0);
  }

  /// A probe of two labels on the class token, fitted on whatever `source` says.
  void write_probe_of(FeatureSource source, int64_t channels = 48) const {
    ProbeFile file;
    file.probe.labels = {"effusion", "pneumonia"};
    file.probe.weight = field("probe", {2, channels}, 0.5);
    file.probe.bias = zeros({2});
    file.probe.mean = zeros({channels});
    file.probe.deviation = full({channels}, 1);
    file.probe.thresholds = {0.5, 0.5};
    file.source = std::move(source);
    file.training = Json::object();
    write_probe(probe, file);
  }
};

Ran run_on(const std::string& command, const Networks& files, const std::string& model, const Words& more) {
  Words words{command, files.images, "--model", model, "--device", "cpu"};
  words.insert(words.end(), more.begin(), more.end());
  return sat_run(words);
}

Tensor png(const std::string& path) { return decode_png(read_text(path)); }

int64_t lines_in(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

void refused(const Ran& ran, int status, const std::string& sentence) {
  CAPTURE(ran.err);
  CHECK(ran.status == status);
  CHECK(contains(ran.err, sentence));
}

}  // namespace

TEST_CASE("a head's masks lie on the images' own pixels, with figures, and are not made again") {
  const Networks files;
  const Words words{"--head", files.head, "-o", files.out, "--labels", "none,lung,heart", "--json"};
  const Ran ran = run_on("segment2d", files, files.model, words);
  CHECK(ran.status == 0);
  CHECK(names_in(files.out) == Words{"a", "b", "c"});
  CHECK(names_in(files.out + "/a") == Words{"mask.png", "overlay.png", "statistics.json"});
  const Tensor mask = png(files.out + "/a/mask.png");
  CHECK(mask.shape == Shape{80, 64, 1});
  CHECK(mask.data<uint8_t>()[0] == 255);  // the crop is square, so the upper rows of a tall image were not seen
  CHECK(mask.data<uint8_t>()[40 * 64 + 32] < 3);
  const std::string path = files.out + "/a/statistics.json";
  const Json record = Json::parse(read_text(path), path);
  int64_t pixels = 0;
  for (const Json& one : record["classes"].items()) pixels += one["pixels"].integer();
  int64_t seen = 0;
  for (int64_t i = 0; i < mask.numel(); ++i) seen += mask.data<uint8_t>()[i] != 255;
  CHECK(pixels == seen);
  CHECK(contains(run_on("segment2d", files, files.model, words).out, R"({"image":"b.png","status":"skipped"})"));
}

TEST_CASE("what somebody changed, or other settings made, is replaced only with --overwrite") {
  const Networks files;
  const Words words{"--head", files.head, "-o", files.out};
  CHECK(run_on("segment2d", files, files.model, words).status == 0);
  write_text(files.out + "/a/mask.png", "painted by hand");
  refused(run_on("segment2d", files, files.model, words), 2, "holds mask.png, which somebody changed");
  CHECK(read_text(files.out + "/a/mask.png") == "painted by hand");
  Words each = words;
  each.push_back("--each");
  refused(run_on("segment2d", files, files.model, each), 2, "holds masks made with other settings");
  each.push_back("--overwrite");
  CHECK(run_on("segment2d", files, files.model, each).status == 0);
  CHECK(names_in(files.out + "/b") ==
        Words{"mask-class 0.png", "mask-class 1.png", "mask-class 2.png", "overlay.png", "statistics.json"});
  std::filesystem::remove_all(files.out + "/c");
  std::filesystem::create_directory(files.out + "/c");
  refused(run_on("segment2d", files, files.model, each), 2, "is not removed");
}

TEST_CASE("UPerNet's and ECAMP's masks are written the same way") {
  const Networks files;
  VitConfig deeper = tiny_vit_config();
  deeper.depth = 4;
  write_safetensors(files.folder / "deeper.safetensors", tiny_vit(VitNaming::timm, "", deeper), {});
  const Ran by_head = run_on("segment2d", files, files.folder / "deeper.safetensors",
                             {"--head", files.upernet, "-o", files.folder / "upernet"});
  CHECK(by_head.status == 0);
  CHECK(png(files.folder / "upernet/b/mask.png").shape == Shape{60, 90, 1});
  const Ran ran = run_on("segment2d", files, files.segmenter, {"-o", files.folder / "ecamp"});
  CHECK(ran.err.find("failed:") == std::string::npos);
  CHECK(ran.status == 0);
  CHECK(names_in(files.folder / "ecamp/a") == Words{"mask-cup.png", "mask-disc.png", "overlay.png", "statistics.json"});
  CHECK(png(files.folder / "ecamp/b/mask-cup.png").shape == Shape{60, 90, 1});
}

TEST_CASE("a probe scores the images that it fits, and says what does not fit") {
  const Networks files;
  files.encode();
  const FeatureSource source = read_features(files.features).source;
  files.write_probe_of(source);
  const Ran ran = run_on("classify", files, files.model, {"--probe", files.probe});
  CHECK(ran.status == 0);
  CHECK(ran.out.rfind("image,effusion,pneumonia\na.png,0.", 0) == 0);
  CHECK(lines_in(ran.out) == 4);
  const Ran one_by_one = run_on("classify", files, files.model, {"--probe", files.probe, "--batch", "1"});
  CHECK(one_by_one.out == ran.out);

  refused(run_on("classify", files, files.model, {"--probe", files.probe, "--size", "70"}), 1, "the preprocessing is");
  files.write_probe_of(source, 40);
  refused(run_on("classify", files, files.model, {"--probe", files.probe}), 1, "features of 48 channels");
  FeatureSource other = source;
  other.identity = std::string(64, 'a');
  files.write_probe_of(other);
  refused(run_on("classify", files, files.model, {"--probe", files.probe}), 1, "the model's file has SHA-256");
  refused(run_on("classify", files, files.model, {"--probe", files.head}), 1, files.head);
  refused(run_on("classify", files, files.model, {"--probe", files.folder / "absent"}), 1, "absent");
}

TEST_CASE("ECAMP's classifier scores images, and untrained weights are said in every line") {
  const Networks files;
  const Ran ran = run_on("classify", files, files.classifier, {"-o", files.folder / "scores.csv"});
  CHECK(ran.status == 0);
  const std::string table = read_text(files.folder / "scores.csv");
  CHECK(table.rfind("image,class 0,", 0) == 0);
  CHECK(contains(table, ",remark\na.png,"));
  CHECK(contains(table, ",untrained weights\n"));
  const Ran json = run_on("classify", files, files.classifier, {"--json", "--one-class"});
  CHECK(contains(json.out, R"({"image":"a.png","status":"done","scores":{"class 0":)"));
  CHECK(contains(json.out, R"("remark":"untrained weights")"));
}

TEST_CASE("boxes lie within the image and are drawn on a picture of it") {
  const Networks files;
  const Ran ran = run_on("detect", files, files.detector, {"--confidence", "0.1", "--pictures", files.out, "--json"});
  CHECK(ran.status == 0);
  CHECK(names_in(files.out) == Words{"a.png-boxes.png", "b.png-boxes.png", "c.png-boxes.png"});
  CHECK(png(files.out + "/b.png-boxes.png").shape[1] == 90);
  const Json first = Json::parse(ran.out.substr(0, ran.out.find('\n')), "line");
  for (const Json& box : first["boxes"].items()) {
    const std::vector<double> sides = box["box"].numbers();
    CHECK(sides[0] >= 0);
    CHECK(sides[0] <= sides[2]);
    CHECK(sides[2] <= 64);
    CHECK(sides[3] <= 80);
  }
  const Ran table = run_on("detect", files, files.detector, {"--confidence", "1"});
  CHECK(table.out == "image,left,top,right,bottom,objectness,score,class\n");
}

TEST_CASE("the nearest of an image is its twin, from features or from a folder, and never itself") {
  const Networks files;
  std::filesystem::copy_file(files.images + "/b.png", files.images + "/twin.png");
  files.encode();
  const std::string sheet = files.folder / "sheet.png";
  const Ran named =
      sat_run({"nearest", "b.png", "--in", files.features, "-k", "2", "--images", files.images, "-o", sheet});
  CHECK(named.status == 0);
  CHECK(named.out.rfind("query,rank,image,cosine\nb.png,1,twin.png,1\nb.png,2,", 0) == 0);
  CHECK(png(sheet).shape[2] == 3);
  std::filesystem::copy_file(files.images + "/c.png", files.folder / "new.png");
  const Words query{"nearest", files.folder / "new.png", "--model", files.model, "--device", "cpu", "-k", "1", "--in"};
  for (const std::string& in : {files.features, files.images}) {
    Words words = query;
    words.push_back(in);
    const Ran ran = sat_run(words);
    CHECK(ran.status == 0);
    CHECK(contains(ran.out, "new.png,1,c.png,1\n"));
  }
  refused(sat_run({"nearest", files.folder / "new.png", "--in", files.features}), 64, "--model is needed");
  Words other = query;
  other.push_back(files.features);
  other.insert(other.end(), {"--interpolation", "offset"});
  refused(sat_run(other), 1, "cannot be compared");
  files.encode({"--tokens", "patches", "--overwrite"});
  refused(sat_run({"nearest", "b.png", "--in", files.features}), 1, "compared by one row each");
}

TEST_CASE("networks that a command does not run are refused in a sentence") {
  const Networks files;
  const auto segment = [&](const std::string& model, const Words& more) {
    Words words{"-o", files.out};
    words.insert(words.end(), more.begin(), more.end());
    return run_on("segment2d", files, model, words);
  };
  refused(run_on("classify", files, files.segmenter, {}), 1,
          "a segmentation network of ECAMP's; sat classify runs a classifier");
  refused(run_on("detect", files, files.classifier, {}), 1, "sat detect runs a detector");
  refused(run_on("classify", files, files.model, {}), 1, files.model);
  refused(segment(files.detector, {}), 1, "runs a segmentation network");
  refused(segment(files.model, {"--head", files.model}), 1, "no segmentation head");
  refused(segment(files.model, {"--head", files.head, "--layers", "1,2"}), 1,
          "takes 1 layers of the encoder, 2 are given");
  refused(segment(files.model, {"--head", files.head, "--labels", "lung"}), 64,
          "--labels names 1 classes, the model has 3");
  refused(segment(files.model, {"--head", files.upernet}), 1, "takes the features of 4 blocks, the encoder has 2");
  refused(segment(files.segmenter, {"--size", "99"}), 64, "--size 99: this model takes images of");
  refused(segment(files.model, {"--layers", "1"}), 64, "--layers");
  refused(run_on("detect", files, files.detector, {"--confidence", "2"}), 64, "--confidence");
  write_text(files.folder / "file", "in the way");
  refused(run_on("segment2d", files, files.segmenter, {"-o", files.folder / "file"}), 1, "cannot make the folder");
  refused(run_on("detect", files, files.detector, {"--pictures", files.folder / "file"}), 1, "cannot make the folder");
}

TEST_CASE("inspect knows encoders of images, what was fine-tuned of them, and probes") {
  const Networks files;
  const auto inspected = [](const std::string& file) {
    const Ran ran = sat_run({"inspect", file, "--json"});
    CHECK(ran.status == 0);
    return Json::parse(ran.out, "stdout");
  };
  const Json encoder = inspected(files.model);
  CHECK(encoder["kind"].string() == "image model");
  CHECK(encoder["architecture"].string() == "rad-dino");
  CHECK(encoder["config"]["width"].integer() == 48);
  const Json classifier = inspected(files.classifier);
  CHECK(classifier["network"].string() == "a classifier");
  CHECK(classifier["remark"].string() == "untrained weights");
  CHECK(inspected(files.detector)["network"].string() == "a detector");
  files.write_probe_of({});
  const Json probe = inspected(files.probe);
  CHECK(probe["kind"].string() == "probe");
  CHECK(probe["labels"].strings() == std::vector<std::string>{"effusion", "pneumonia"});
}

TEST_CASE("a limit that ECAMP's weights do not fit in is refused before they are read") {
  const Networks files;
  const Ran ran = run_on("classify", files, files.classifier, {"--max-ram", "97M"});
  CHECK(ran.status == 0);  // a tiny model fits beside the program
  refused(run_on("classify", files, files.classifier, {"--max-ram", "96M"}), 1, "less than the program itself needs");
}

TEST_CASE("masks that are made again take the place of the earlier ones, and nothing is left beside them") {
  const Networks files;
  const auto entries = [&] {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(files.out)) names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  };
  CHECK(run_on("segment2d", files, files.model, {"--head", files.head, "-o", files.out}).status == 0);
  const std::vector<std::string> before = entries();
  CHECK(run_on("segment2d", files, files.model, {"--head", files.head, "-o", files.out, "--overwrite"}).status == 0);
  CHECK(entries() == before);
}
