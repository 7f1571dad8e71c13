// sat encode from outside: files of features, resume, bad files, pictures, and what is refused.
#include <doctest/doctest.h>

#include <algorithm>

#include "sat/io/arrays/npy.h"
#include "sat/io/features/feature_set.h"
#include "tests/support/decode_png.h"
#include "tests/support/image/radiographs.h"
#include "tests/support/program.h"

using namespace sat;
using namespace sat::test;

namespace {

Words encode(const Radiographs& files, const Words& more) {
  Words words{"encode", files.images, "--model", files.model, "--device", "cpu"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

}  // namespace

TEST_CASE("a folder's images become features in each form, the same numbers in all") {
  const Radiographs files;
  FeatureSet first;
  for (const char* name : {"f.safetensors", "f.npy", "f.csv"}) {
    const std::string path = files.folder / name;
    const Ran ran = sat_run(encode(files, {"-o", path, "--quiet"}));
    CHECK(ran.err == "");
    CHECK(ran.status == 0);
    const FeatureSet set = read_features(path);
    CHECK(set.images == std::vector<std::string>{"a.png", "b.png", "c.png"});
    CHECK(set.features.shape == Shape{3, 48});
    CHECK(set.source.model == "rad-dino");
    CHECK(set.source.layers == std::vector<int64_t>{2});
    if (first.path.empty()) first = set;
    CHECK(mismatch(set.features, first.features, {}) == "");
  }
}

TEST_CASE("features do not depend on the batch or on threads") {
  const Radiographs files;
  Tensor first;
  for (const Words& how : {Words{"--batch", "1", "--threads", "1"}, Words{"--batch", "3", "--threads", "2"}}) {
    const std::string path = files.folder / ("f" + how[1] + ".npy");
    Words words{"-o", path, "--tokens", "patches", "--layers", "1,2", "--pre-norm"};
    words.insert(words.end(), how.begin(), how.end());
    CHECK(sat_run(encode(files, words)).status == 0);
    const Tensor features = sat::read_npy(path);
    CHECK(features.shape == Shape{3, 16, 96});
    if (first.empty()) first = features;
    CHECK(mismatch(features, first, {}) == "");
  }
}

TEST_CASE("a bad file stops no other, is named, and is tried again; what is there is not computed again") {
  const Radiographs files;
  write_text(files.images + "/bad.png", "no image");
  const std::string path = files.folder / "f.safetensors";
  const Ran ran = sat_run(encode(files, {"-o", path, "--json"}));
  CHECK(ran.status == 2);
  CHECK(contains(ran.out, R"({"image":"a.png","status":"done"})"));
  CHECK(contains(ran.out, R"({"image":"bad.png","status":"failed","error":{"kind":"input","message":")"));
  CHECK(read_features(path).size() == 3);
  CHECK(read_manifest(manifest_path(path)).records.size() == 4);

  write_radiograph(files.images + "/bad.png", 70, 70, 9);
  const Ran again = sat_run(encode(files, {"-o", path, "--json"}));
  CHECK(again.status == 0);
  CHECK(contains(again.out, R"({"image":"a.png","status":"skipped"})"));
  CHECK(contains(again.out, R"({"image":"bad.png","status":"done"})"));
  CHECK(read_features(path).size() == 4);
}

TEST_CASE("a changed image is encoded again, and other settings are refused without --overwrite") {
  const Radiographs files;
  const std::string path = files.folder / "f.safetensors";
  CHECK(sat_run(encode(files, {"-o", path})).status == 0);
  write_radiograph(files.images + "/b.png", 60, 90, 7);
  const Ran changed = sat_run(encode(files, {"-o", path, "--json"}));
  CHECK(contains(changed.out, R"({"image":"b.png","status":"done"})"));
  CHECK(contains(changed.out, R"({"image":"c.png","status":"skipped"})"));
  const Ran other = sat_run(encode(files, {"-o", path, "--layers", "1"}));
  CHECK(other.status == 1);
  CHECK(contains(other.err, "the layers are [2], not [1]"));
  CHECK(sat_run(encode(files, {"-o", path, "--layers", "1", "--overwrite"})).status == 0);
}

TEST_CASE("attention and components are arrays and pictures, and untrained weights are said everywhere") {
  const Radiographs files(std::map<std::string, std::string>{{"generated", "for tests"}});
  const std::string path = files.folder / "f.npy", picture = files.folder / "pca.png";
  const Ran ran = sat_run(encode(files, {"-o", path, "--attention", "2", "--pca", picture}));
  CHECK(ran.status == 0);
  CHECK(contains(ran.err, "untrained weights"));
  CHECK(read_manifest(manifest_path(path)).source.remark == "untrained weights");
  const std::string folder = files.folder / "f-attention";
  CHECK(names_in(folder).size() == 6);
  CHECK(sat::read_npy(folder + "/a.png-block2.npy").shape == Shape{3, 4, 4});
  CHECK(decode_png(read_text(folder + "/a.png-block2.png")).shape[2] == 3);
  CHECK(decode_png(read_text(picture)).shape[2] == 3);
  CHECK(sat_run(encode(files, {"-o", files.folder / "one.npy", "--attention", "1:2"})).status == 0);
  CHECK(sat::read_npy(files.folder / "one-attention/b.png-block1-head2.npy").shape == Shape{1, 4, 4});
}

TEST_CASE("a connector's tokens are written in the width of its language model") {
  const Radiographs files;
  write_safetensors(files.folder / "connector.safetensors", tiny_connector(20), {});
  const std::string path = files.folder / "tokens.safetensors";
  CHECK(sat_run(encode(files, {"-o", path, "--connector", files.folder / "connector.safetensors"})).status == 0);
  const FeatureSet set = read_features(path);
  CHECK(set.features.shape == Shape{3, 16, 20});
  CHECK(set.source.tokens == "connector");
}

TEST_CASE("other sizes change the grid") {
  const Radiographs files;
  const std::string path = files.folder / "f.npy";
  CHECK(sat_run(encode(files, {"-o", path, "--size", "70", "--tokens", "all", "--interpolation", "offset"})).status ==
        0);
  CHECK(sat::read_npy(path).shape == Shape{3, 26, 48});
}

TEST_CASE("what cannot be encoded is refused in a sentence") {
  const Radiographs files;
  const std::string out = files.folder / "f.npy";
  const auto refused = [&](const Words& words, int status, const std::string& sentence) {
    const Ran ran = sat_run(words);
    CAPTURE(ran.err);
    CHECK(ran.status == status);
    CHECK(contains(ran.err, sentence));
    CHECK(std::count(ran.err.begin(), ran.err.end(), '\n') <= 5);
  };
  refused(encode(files, {"-o", files.folder / "f.txt"}), 1, "ends in .safetensors, .npy or .csv");
  refused(encode(files, {"-o", out, "--layers", "3"}), 1, "there is no layer 3, the model has 1 to 2");
  refused(encode(files, {"-o", out, "--layers", "2,1"}), 1, "in ascending order");
  refused(encode(files, {"-o", out, "--layers", "0"}), 64, "'0' is no block");
  refused(encode(files, {"-o", out, "--tokens", "class"}), 64, "unknown tokens 'class'");
  refused(encode(files, {"-o", out, "--size", "57"}), 64, "no multiple of the model's patches of 14");
  refused(encode(files, {"-o", out, "--attention", "4"}), 1, "there is no layer 4");
  refused(encode(files, {"-o", out, "--attention", "2:3"}), 1, "there is no head 3");
  refused(encode(files, {"-o", out, "--attention", "2:"}), 64, "neither BLOCK nor BLOCK:HEAD");
  refused(encode(files, {"-o", out, "--batch", "0"}), 64, "--batch");
  refused(encode(files, {"-o", files.folder / "f.csv", "--tokens", "patches"}), 1, "a .csv takes [channels]");
  refused(encode(files, {"-o", out, "--interpolation", "cubic"}), 64, "--interpolation");
  refused(encode(files, {"-o", out, "--window", "5,1"}), 64, "--window");
  refused(encode(files, {"-o", out, "--max-ram", "1M"}), 1, "less than the program itself needs");
  refused(encode(files, {"-o", files.folder / "absent/f.npy"}), 1, "absent");
  refused({"encode", files.folder / "nothing", "--model", files.model, "-o", out}, 1, "nothing");
  refused({"encode", files.images, "--model", files.folder / "nothing", "-o", out}, 1, "nothing");
  refused({"encode", files.images, "--model", files.images + "/a.png", "-o", out}, 1, "a.png");
  refused({"encode", files.images, "-o", out}, 64, "--model is required");
  std::filesystem::create_directory(files.folder / "empty");
  refused({"encode", files.folder / "empty", "--model", files.model, "-o", out}, 1, "holds no .png");
  std::filesystem::create_directory(files.folder / "g.npy");
  refused(encode(files, {"-o", files.folder / "g.npy"}), 1, "g.npy");
  write_safetensors(files.folder / "wide.safetensors",
                    {{"connector.weight", zeros({4, 40})}, {"connector.bias", zeros({4})}}, {});
  refused(encode(files, {"-o", out, "--connector", files.folder / "wide.safetensors"}), 1,
          "takes tokens of 40 channels, the encoder's have 48");
  refused(encode(files, {"-o", out, "--connector", files.model}), 1, "no connector");
  refused(encode(files, {"-o", out, "--connector", files.model, "--layers", "1"}), 64, "--connector");
}
