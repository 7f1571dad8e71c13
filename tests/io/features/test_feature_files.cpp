// Files of features: the three forms hold the same, a run that was ended goes on, and results do not depend on that.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <string>

#include "sat/io/arrays/npy.h"
#include "sat/io/checkpoints/safetensors.h"
#include "sat/io/features/feature_set.h"
#include "sat/io/features/feature_writer.h"
#include "sat/io/files/file.h"
#include "tests/support/golden.h"

using namespace sat;
using test::TempDir;

namespace {

const std::vector<std::string> kImages = {"a.png", "b, \"c\".png", "sub/d.png"};

FeatureSource source() {
  FeatureSource one;
  one.model = "rad-dino";
  one.identity = std::string(64, 'b');
  one.layers = {9, 12};
  one.tokens = "cls";
  one.norm = "final";
  one.preprocessing = Json::object({{"size", 518}, {"mean", Json::array({0.5, 0.25})}});
  one.remark = "untrained weights";
  return one;
}

FeatureSet three(const std::string& path, const Shape& row = {4}) {
  FeatureSet set;
  std::vector<int64_t> sizes = row.sizes();
  sizes.insert(sizes.begin(), 3);
  set.features = test::field("features", Shape(sizes), 1);
  set.images = kImages;
  set.source = source();
  set.path = path;
  return set;
}

bool same(const FeatureSet& a, const FeatureSet& b) {
  return test::mismatch(a.features, b.features, {}) == "" && a.images == b.images &&
         to_json(a.source).dump() == to_json(b.source).dump();
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

}  // namespace

TEST_CASE("features in each of the three forms read back to the bit, with their names and their source") {
  const TempDir folder;
  for (const char* name : {"x.safetensors", "x.npy", "x.csv"}) {
    CAPTURE(name);
    const FeatureSet set = three(folder / name);
    write_features(set, "0");
    CHECK(same(read_features(set.path), set));
    CHECK(!std::filesystem::exists(set.path + ".partial"));
  }
}

TEST_CASE("patches keep their axis of tokens, and a table of them is refused") {
  const TempDir folder;
  for (const char* name : {"x.safetensors", "x.npy"}) {
    const FeatureSet set = three(folder / name, {2, 5});
    write_features(set, "0");
    CHECK(same(read_features(set.path), set));
  }
  CHECK(contains(refusal([&] { write_features(three(folder / "x.csv", {2, 5}), "0"); }), "a .csv takes [channels]"));
  CHECK(!std::filesystem::exists(folder / "x.csv.partial"));
}

TEST_CASE("an array without a manifest takes names from a list beside it, else numbers") {
  const TempDir folder;
  write_npy(folder / "x.npy", test::field("x", {2, 3}, 1));
  CHECK(read_features(folder / "x.npy").images == std::vector<std::string>{"0", "1"});
  write_file_atomically(folder / "x.npy.ids.txt", "one\r\ntwo\r\n");
  CHECK(read_features(folder / "x.npy").images == std::vector<std::string>{"one", "two"});
}

TEST_CASE("a run that was ended goes on, and the file is the same as in one go") {
  const TempDir folder;
  for (const char* extension : {".safetensors", ".npy", ".csv"}) {
    const FeatureSet whole = three(folder / "whole" + extension);
    write_features(whole, "0");
    const std::string path = folder / "parts" + extension;
    {
      FeatureWriter writer(path, source(), {4}, "0");
      writer.append(kImages[2], "", whole.features.select(2));
      writer.append(kImages[0], "", whole.features.select(1));  // taken back below
    }
    {
      const auto bytes = std::filesystem::file_size(path + ".partial");
      FeatureWriter torn(path, source(), {4}, "0");
      torn.append(kImages[1], "", whole.features.select(0));
      std::filesystem::resize_file(path + ".partial", bytes + 30);  // as a power cut leaves it
    }
    FeatureWriter writer(path, source(), {4}, "0");
    CHECK(writer.has(kImages[2]));
    CHECK(!writer.has(kImages[1]));
    writer.append(kImages[1], "", whole.features.select(1));
    writer.append(kImages[0], "", whole.features.select(0));
    CHECK(writer.finish(kImages) == 3);
    CHECK(test::read_text(path) == test::read_text(whole.path));
    CHECK(test::read_text(manifest_path(path)) == test::read_text(manifest_path(whole.path)));
  }
}

TEST_CASE("a finished file counts as written for a run with the same settings, and is refused by one with others") {
  const TempDir folder;
  const FeatureSet set = three(folder / "x.npy");
  write_features(set, "0");
  FeatureWriter again(set.path, source(), {4}, "0");
  for (const std::string& image : kImages) CHECK(again.has(image));
  CHECK(again.finish(kImages) == 3);
  CHECK(same(read_features(set.path), set));

  FeatureSource other = source();
  other.layers = {12};
  CHECK(contains(refusal([&] { FeatureWriter(set.path, other, {4}, "0"); }), "the layers are [9,12], not [12]"));
}

TEST_CASE("an image that failed is in the manifest with the reason, and in no row") {
  const TempDir folder;
  const FeatureSet set = three(folder / "x.safetensors");
  FeatureWriter writer(set.path, source(), {4}, "0");
  writer.append_failure(kImages[1], std::string(64, 'c'), "it is no picture");
  writer.append(kImages[0], "", set.features.select(0));
  writer.append(kImages[2], "", set.features.select(2));
  CHECK(!writer.has(kImages[1]));
  CHECK(writer.finish(kImages) == 2);
  CHECK(read_features(set.path).images == std::vector<std::string>{kImages[0], kImages[2]});
  const FeatureManifest manifest = read_manifest(manifest_path(set.path));
  REQUIRE(manifest.records.size() == 3);
  CHECK(manifest.records[1].error == "it is no picture");
}

TEST_CASE("an image whose file has changed is not taken for done") {
  const TempDir folder;
  FeatureWriter writer(folder / "x.npy", source(), {4}, "0");
  writer.append("a.png", std::string(64, '1'), test::field("x", {4}, 1));
  CHECK(writer.has("a.png", std::string(64, '1')));
  CHECK(!writer.has("a.png", std::string(64, '2')));
}

TEST_CASE("two writers of one file are one too many") {
  const TempDir folder;
  const FeatureWriter first(folder / "x.npy", source(), {4}, "0");
  CHECK(contains(refusal([&] { FeatureWriter(folder / "x.npy", source(), {4}, "0"); }), "another process"));
}

TEST_CASE("features that are not finite, of another shape or of no image are not written") {
  const TempDir folder;
  FeatureWriter writer(folder / "x.npy", source(), {2}, "0");
  CHECK(contains(refusal([&] { writer.append("a", "", from_values({2}, {1, 0.0F / 0.0F})); }), "1 of 2 features"));
  CHECK(contains(refusal([&] { writer.append("a", "", test::field("x", {3}, 1)); }), "of shape [3]"));
  CHECK(contains(refusal([&] { writer.append("\xFF", "", test::field("x", {2}, 1)); }), "no name of an image"));
  CHECK(contains(refusal([&] { writer.finish({"a"}); }), "none of 1 images has features"));
  CHECK(!std::filesystem::exists(folder / "x.npy"));
}

TEST_CASE("malformed files of features are refused in one sentence") {
  const TempDir folder;
  const Tensor two = test::field("x", {2, 3}, 1);
  const auto reading = [&](const std::string& bytes, const char* name) {
    write_file_atomically(folder / name, bytes);
    return refusal([&] { read_features(folder / name); });
  };
  const auto stored = [&](const std::map<std::string, Tensor>& tensors, std::map<std::string, std::string> metadata) {
    metadata.insert({{"format", "sat-features"}, {"version", "1"}, {"source", "{}"}});
    write_safetensors(folder / "x", tensors, metadata);
    return refusal([&] { read_features(folder / "x"); });
  };
  const auto names = [](const std::string& json) {
    Tensor text({int64_t(json.size())}, DType::u8);
    std::copy(json.begin(), json.end(), text.data<uint8_t>());
    return text;
  };
  const Tensor both = names(R"(["a","b"])");
  REQUIRE(stored({{"features", two}, {"images", both}}, {}) == "taken");
  CHECK(contains(stored({{"features", two}, {"images", both}}, {{"format", "pt"}}), "format is 'pt'"));
  CHECK(contains(stored({{"features", two}, {"images", both}}, {{"version", "2"}}), "version '2'"));
  CHECK(contains(stored({{"features", two}, {"images", both}}, {{"source", R"({"colour": 1})"}}),
                 "unknown key 'colour'"));
  CHECK(contains(stored({{"features", two}, {"images", both}}, {{"source", R"({"model_sha256": "12"})"}}), "64 hex"));
  CHECK(contains(stored({{"features", two}, {"images", names(R"(["a","a"])")}}, {}), "stands there twice"));
  CHECK(contains(stored({{"features", two}, {"images", names(R"(["a"])")}}, {}), "2 rows of features and 1 names"));
  CHECK(contains(stored({{"features", two}, {"images", names(R"(["a",""])")}}, {}), "no name of an image"));
  CHECK(contains(stored({{"features", two}, {"images", names("nonsense")}}, {}), "images"));
  CHECK(contains(stored({{"features", two}, {"images", two}}, {}), "they should be bytes"));
  CHECK(contains(stored({{"features", two}, {"images", both}, {"more", two}}, {}), "no tensor 'more'"));
  CHECK(contains(stored({{"features", two.reshape({6})}, {"images", both}}, {}), "of shape [6]"));
  CHECK(contains(reading("image,f0\na,1\nb,nan\n", "t.csv"), "line 3: 'nan' in column 'f0'"));
  CHECK(contains(reading("image,f0\na,1e999\n", "t.csv"), "is not a finite number"));
  CHECK(contains(reading("image,f0\na,1 \n", "t.csv"), "is not a finite number"));
  CHECK(contains(reading("image\na\n", "t.csv"), "0 columns of numbers"));
  CHECK(contains(reading("image,f0\na,1\na,2\n", "t.csv"), "stands there twice"));
  write_npy(folder / "n.npy", two);
  write_file_atomically(folder / "n.npy.json", R"({"format": "sat-features", "version": "1", "program": "0",
    "source": {}, "shape": [3, 3], "images": []})");
  CHECK(contains(refusal([&] { read_features(folder / "n.npy"); }), "its manifest says [3, 3]"));
  write_file_atomically(folder / "n.npy.json", "[]");
  CHECK(refusal([&] { read_features(folder / "n.npy"); }) != "taken");
}
