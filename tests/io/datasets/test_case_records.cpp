// SAT's lists of cases: both stages, and what is wrong with a line.
#include <doctest/doctest.h>

#include "sat/io/datasets/case_records.h"
#include "tests/support/datasets/phantom.h"
#include "tests/support/golden.h"

using namespace sat;
using namespace sat::test;

namespace {

const char* const kRaw =
    R"({"image": "i/a.nii.gz", "mask": "m/a.nii.gz", "label": ["liver", "spleen"], "modality": "CT", "dataset": "D",)"
    R"( "official_split": "unknown", "patient_id": "p1"})";
const char* const kConverted =
    R"({"image": "x", "mask": "x", "label": ["liver", "liver tumor"], "modality": "MRI", "dataset": "E",)"
    R"( "official_split": "test", "patient_id": "p2", "sample_id": 17, "renorm_image": "/abs/17.npy",)"
    R"( "chwd": [1, 9, 9, 9], "renorm_segmentation_dir": "seg/17",)"
    R"( "renorm_y1x1z1_y2x2z2": [[1, 2, 3, 4, 6, 8], false], "roi_y1x1z1_y2x2z2": [1, 2, 3, 4, 6, 8]})";

LabelledData read(const TempDir& folder, const std::string& text, const DatasetOptions& options = {}) {
  write_text(folder / "d.jsonl", text);
  return read_dataset(folder / "d.jsonl", options);
}

std::string refusal(const std::string& line) {
  const TempDir folder;
  try {
    read(folder, std::string(kConverted) + "\n" + line + "\n");
  } catch (const Error& error) {
    const std::string reason = error.what();
    CHECK(reason.find("line 2") != std::string::npos);
    return reason;
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("a raw record is a scan and a label map whose values count from 1") {
  const TempDir folder;
  const LabelledData data = read(folder, std::string(kRaw) + "\n\n");
  REQUIRE(data.train.size() == 1);
  const LabelledCase& one = data.train[0];
  CHECK(one.id == "i/a.nii.gz");
  CHECK(one.image == folder / "i/a.nii.gz");
  CHECK(one.patient == "p1");
  CHECK(one.modality == "CT");
  CHECK(one.empty == EmptyLabel::absent);
  CHECK(one.structures[1].paths == std::vector<std::string>{folder / "m/a.nii.gz"});
  CHECK(one.structures[1].values == std::vector<int64_t>{2});
}

TEST_CASE("a raw record may name its values, or a mask a label") {
  const TempDir folder;
  const LabelledData values =
      read(folder, replaced(kRaw, R"("modality")", R"("label_values": [[1, 2], 5], "modality")"));
  CHECK(values.train[0].structures[0].values == std::vector<int64_t>{1, 2});
  CHECK(values.train[0].structures[1].values == std::vector<int64_t>{5});
  const LabelledData masks = read(folder, replaced(kRaw, R"("m/a.nii.gz")", R"(["l.nii.gz", "s.nii.gz"])"));
  CHECK(masks.train[0].structures[1].values.empty());
  CHECK(masks.train[0].structures[1].paths == std::vector<std::string>{folder / "s.nii.gz"});
}

TEST_CASE("a converted record has arrays, boxes and structures known to be absent") {
  const TempDir folder;
  const LabelledData data = read(folder, kConverted);
  REQUIRE(data.validation.size() == 1);
  const LabelledCase& one = data.validation[0];
  CHECK(one.id == "17");
  CHECK(one.converted);
  CHECK(one.image == "/abs/17.npy");
  CHECK(one.structures[0].paths == std::vector<std::string>{folder / "seg/17/liver.npy"});
  REQUIRE(one.structures[0].box);
  CHECK(one.structures[0].box->start == std::array<int64_t, 3>{1, 2, 3});
  CHECK(one.structures[0].box->end == std::array<int64_t, 3>{4, 6, 8});
  CHECK(one.structures[1].paths.empty());
}

TEST_CASE("a fraction for validation leaves official splits as they are") {
  const TempDir folder;
  std::string text =
      std::string(kConverted) + "\n" + replaced(replaced(kConverted, "\"test\"", "\"train\""), "17,", "18,") + "\n";
  for (int i = 0; i < 10; ++i) {
    text += replaced(replaced(kRaw, "p1", "p" + std::to_string(i)), "i/a", "i/" + std::to_string(i)) + "\n";
  }
  DatasetOptions options;
  options.validation_fraction = 0.2;
  options.seed = 3;
  const LabelledData data = read(folder, text, options);
  CHECK(data.validation.size() == 3);
  CHECK(data.train.size() == 9);
}

TEST_CASE("what is wrong with a line is said with its number") {
  CHECK(contains(refusal("[1]"), "a record is an object"));
  CHECK(contains(refusal("{"), "line 2"));
  CHECK(contains(refusal(replaced(kRaw, R"("label": ["liver", "spleen"])", R"("label": [])")), "there is no label"));
  CHECK(contains(refusal(replaced(kRaw, "spleen", "liver")), "label 'liver' comes twice"));
  CHECK(contains(refusal(replaced(kRaw, R"("dataset": "D",)", "")), "names no data set"));
  CHECK(contains(refusal(replaced(kRaw, "CT", "sonar")), "sonar"));
  CHECK(contains(refusal(replaced(kRaw, R"("modality")", R"("label_values": [1], "modality")")), "label_values"));
  CHECK(contains(refusal(replaced(kRaw, R"("m/a.nii.gz")", R"(["l.nii.gz"])")), "there are 1 masks of 2 labels"));
  CHECK(contains(refusal(kConverted), "comes twice"));
  const std::string other = replaced(kConverted, "17,", "18,");
  CHECK(contains(refusal(replaced(other, "4, 6, 8], false", "4, 6, 8]")), "there are 1 boxes of 2 labels"));
  CHECK(contains(refusal(replaced(other, "4, 6, 8], false", "4, 6], false")), "a box has 5 numbers"));
  CHECK(
      contains(refusal(replaced(other, "4, 6, 8], false", "4, 2, 8], false")), "a box goes from 2 to 2 along axis 1"));
  CHECK(contains(refusal(replaced(other, "liver tumor", "../liver")), "'../liver' is no name of a file"));
}

TEST_CASE("a bad line is left out aloud when problems are heard") {
  const TempDir folder;
  std::vector<CaseProblem> problems;
  DatasetOptions options;
  options.on_problem = [&](const CaseProblem& problem) { problems.push_back(problem); };
  const LabelledData data = read(folder, std::string(kRaw) + "\n{}\n" + kConverted, options);
  CHECK(data.train.size() == 1);
  CHECK(data.validation.size() == 1);
  REQUIRE(problems.size() == 1);
  CHECK(contains(problems[0].reason, "line 2"));
}
