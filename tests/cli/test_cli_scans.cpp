// What `sat segment` and `sat plan` make of scans with contradictory headers, strange values or an unknown orientation.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>

#include "sat/io/files/file.h"
#include "sat/io/nifti/nifti.h"
#include "sat/io/words/json.h"
#include "sat/nn/text/embedding_bank.h"
#include "tests/support/golden.h"
#include "tests/support/nifti_bytes.h"
#include "tests/support/program.h"
#include "tests/support/tiny_model.h"

using namespace sat;
using namespace sat::test;

namespace {

namespace fs = std::filesystem;

/// The tiny model beside scans that are made from one good MR.
struct Bench {
  TempDir folder;
  std::string good = nifti_bytes(tiny_scan({24, 20, 12}));

  Bench() { write_tiny_model(folder / "model.safetensors", folder / "bank.safetensors", 3); }

  std::string scan(const std::string& name, const std::string& bytes) const {
    write_file_atomically(folder / name, bytes);
    return folder / name;
  }
  Ran segment(const std::string& scan, const Words& more = {}) const {
    Words words{
        "segment", scan,           "--prompts", "prompt 0", "--threads", "2", "--model", folder / "model.safetensors",
        "-o",      folder / "out", "--json"};
    words.insert(words.end(), more.begin(), more.end());
    if (std::find(more.begin(), more.end(), "--bank") == more.end()) {
      words.insert(words.end(), {"--bank", folder / "bank.safetensors"});
    }
    if (std::find(more.begin(), more.end(), "--modality") == more.end())
      words.insert(words.end(), {"--modality", "mri"});
    return sat_run(words);
  }
  Json manifest(const std::string& name) const {
    const std::string path = folder / ("out/" + name + "/manifest.json");
    return Json::parse(read_text(path), path);
  }
  std::string warnings(const std::string& name) const { return manifest(name)["warnings"].dump(); }
};

std::string sheared(std::string bytes) {
  Affine a;
  a.m[2][2] = 3;
  a.m[1][2] = 1;
  put_sform(bytes, a);
  return bytes;
}

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

}  // namespace

TEST_CASE("a good scan is segmented without a warning") {
  const Bench bench;
  const Ran ran = bench.segment(bench.scan("good.nii", bench.good));
  CHECK(ran.status == 0);
  CHECK_FALSE(contains(ran.err, "warning"));
  CHECK(bench.warnings("good") == "[]");
  CHECK(bench.manifest("good")["scan"]["left_right"].string() == "known");
  CHECK(bench.manifest("good")["scan"]["geometry_from"].string() == "sform");
}

TEST_CASE("a contradictory header warns once, in the manifest and in JSON, and its mask lies where statistics say") {
  const Bench bench;
  const std::string scan = bench.scan("tilted.nii", sheared(bench.good));
  for (const char* form : {"auto", "sform", "qform"}) {
    CAPTURE(form);
    const Ran ran = bench.segment(scan, {"--geometry", form});
    REQUIRE(ran.status == 0);
    CHECK(count_of(ran.err, "warning: the sform has voxels of 1 x 1 x 3.162 mm, sheared by") == 1);
    const Json line = Json::parse(ran.out, "stdout");
    CHECK(line["warnings"].dump() == bench.warnings("tilted"));
    CHECK(contains(line["warnings"].dump(), "the sform has voxels of"));
    const Json manifest = bench.manifest("tilted");
    CHECK(manifest["scan"]["geometry_from"].string() == (std::string(form) == "sform" ? "sform" : "qform"));
    const NiftiHeader mask = read_nifti_header(bench.folder / "out/tilted/masks/prompt 0.nii.gz");
    for (size_t i = 0; i < 3; ++i) {
      const std::vector<double> row = manifest["scan"]["voxel_to_world_mm"][i].numbers();
      for (size_t j = 0; j < 4; ++j) CHECK(std::fabs(mask.srow[i][j] - row[j]) < 1e-5);
    }
    CHECK(mask.qform_code == (std::string(form) == "sform" ? 0 : 2));
  }
}

TEST_CASE("another geometry is another request, so that a finished case is done again") {
  const Bench bench;
  const std::string scan = bench.scan("tilted.nii", sheared(bench.good));
  CHECK(contains(bench.segment(scan).out, "\"done\""));
  CHECK(contains(bench.segment(scan).out, "\"skipped\""));
  CHECK(contains(bench.segment(scan, {"--geometry", "sform"}).out, "\"done\""));
  const Ran wrong = bench.segment(scan, {"--geometry", "affine"});
  CHECK(wrong.status == 64);
  CHECK(contains(wrong.err, "'affine' is not auto, sform, qform or pixdim"));
}

TEST_CASE("an unknown orientation is marked in the manifest and in the preview") {
  const Bench bench;
  std::string bytes = bench.good;
  put_codes(bytes, 0, 0);
  CHECK(bench.segment(bench.scan("unknown.nii", bytes)).status == 0);
  CHECK(bench.segment(bench.scan("known.nii", bench.good)).status == 0);
  CHECK(bench.manifest("unknown")["scan"]["left_right"].string() == "unreliable");
  CHECK(contains(bench.warnings("unknown"), "left and right are unreliable"));
  CHECK(read_text(bench.folder / "out/unknown/preview.png") != read_text(bench.folder / "out/known/preview.png"));
}

TEST_CASE("a scan that looks wrong is refused with --strict, by name, and leaves nothing") {
  const Bench bench;
  const std::string scan = bench.scan("tilted.nii", sheared(bench.good));
  const Ran ran = bench.segment(scan, {"--strict", "--modality", "ct"});
  CHECK(ran.status != 0);
  CHECK(contains(ran.err, "refused, as the run is strict: the sform has voxels of"));
  CHECK(contains(ran.err, "; no voxel is below 0"));
  CHECK(contains(ran.out, "\"failed\""));
  CHECK_FALSE(fs::exists(bench.folder / "out/tilted"));
  CHECK(bench.segment(bench.scan("good.nii", bench.good), {"--strict"}).status == 0);
}

TEST_CASE("implausible values are warned of, and a scan unlike the bank's card is too") {
  const Bench bench;
  const std::string scan = bench.scan("mr.nii", bench.good);
  CHECK(bench.segment(scan, {"--modality", "ct"}).status == 0);
  CHECK(contains(bench.warnings("mr"), "no voxel is below 0, but air in a CT has -1000"));

  write_file_atomically(bench.folder / "card.json",
                        R"({"mri": {"region": "pelvis", "field_of_view_mm": [[300, 500], [200, 400], [200, 400]]}})");
  const std::string with_card = bench.folder / "with-card.safetensors";
  CHECK(sat_run({"bank", "--from", bench.folder / "bank.safetensors", "--card", bench.folder / "card.json", "-o",
                 with_card})
            .status == 0);
  CHECK(contains(sat_run({"inspect", with_card}).out, "pelvis"));
  const EmbeddingBank before = read_bank(bench.folder / "bank.safetensors"), after = read_bank(with_card);
  CHECK(before.phrases == after.phrases);
  CHECK(mismatch(after.embeddings, before.embeddings, {}) == "");
  CHECK(before.text_identity == after.text_identity);
  CHECK(bench.segment(scan, {"--bank", with_card}).status == 0);
  CHECK(
      contains(bench.warnings("mr"), "extends 24 mm left to right, but scans of what this model knows (mri: pelvis)"));
}

TEST_CASE("a bank is encoded or taken over, not both") {
  CHECK(contains(sat_run({"bank", "-o", "x"}).err, "--text-model is required, or --from"));
  CHECK(contains(sat_run({"bank", "--from", "a", "--prompts", "b", "-o", "x"}).err, "no prompts"));
  CHECK(contains(sat_run({"bank", "--from", "a", "--text-model", "b", "--vocab", "c", "-o", "x"}).err, "excludes"));
}

TEST_CASE("plan tells what is odd of a header, and follows --geometry") {
  const Bench bench;
  const std::string scan = bench.scan("tilted.nii", sheared(bench.good));
  const Words words{
      "plan", scan, "--modality", "mri", "--prompts-count", "1", "--model", bench.folder / "model.safetensors"};
  CHECK(contains(sat_run(words).err, "warning: the sform has voxels of"));
  Words with_json = words;
  with_json.insert(with_json.end(), {"--json", "--geometry", "sform"});
  const Json plan = Json::parse(sat_run(with_json).out, "stdout");
  CHECK(contains(plan["warnings"].dump(), "the sform was used, as asked"));
  std::string bytes = bench.good;
  put_codes(bytes, 0, 0);
  bench.scan("tilted.nii", bytes);
  CHECK(contains(sat_run(words).out, "orientation unknown"));
}
