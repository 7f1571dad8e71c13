// A folder with labels.json: which cases it has, what they are for, and what is refused.
#include <doctest/doctest.h>

#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "sat/io/datasets/label_folder.h"
#include "tests/support/datasets/phantom.h"
#include "tests/support/golden.h"

using namespace sat;
using namespace sat::test;

namespace {

/// Files without content: lists look at names alone.
void touch(const TempDir& folder, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    for (size_t slash = name.find('/'); slash != std::string::npos; slash = name.find('/', slash + 1)) {
      ::mkdir((folder / name.substr(0, slash)).c_str(), 0777);
    }
    write_text(folder / name, "x");
  }
}

void touch_cases(const TempDir& folder, const std::vector<std::string>& ids) {
  for (const std::string& id : ids) touch(folder, {id + "_ct.nii.gz", id + "_label.nii.gz"});
}

std::vector<std::string> ids(const std::vector<LabelledCase>& cases) {
  std::vector<std::string> names;
  for (const LabelledCase& one : cases) names.push_back(one.id);
  return names;
}

using Ids = std::vector<std::string>;

std::string refusal(const TempDir& folder, const std::string& labels) {
  write_text(folder / "labels.json", labels);
  try {
    read_label_folder(folder.path());
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("cases are the files that the pattern matches, with their structures and values") {
  const TempDir folder;
  touch_cases(folder, {"b", "a", "sub/c"});
  touch(folder, {"notes.txt"});
  write_text(folder / "labels.json", phantom_labels());
  const LabelledData data = read_label_folder(folder.path());
  CHECK(ids(data.train) == Ids{"a", "b", "sub/c"});
  CHECK(data.validation.empty());
  const LabelledCase& one = data.train[2];
  CHECK(one.image == folder / "sub/c_ct.nii.gz");
  CHECK(one.dataset == "balls");
  CHECK(one.modality == "ct");
  CHECK(one.patient == "sub/c");
  CHECK(one.empty == EmptyLabel::refuse);
  REQUIRE(one.structures.size() == 3);
  CHECK(one.structures[2].name == "both");
  CHECK(one.structures[2].values == std::vector<int64_t>{1, 2});
  CHECK(one.structures[2].paths == Ids{folder / "sub/c_label.nii.gz"});
  CHECK(ids(read_dataset(folder / "labels.json").train) == ids(data.train));
}

TEST_CASE("the file may lie elsewhere than its scans") {
  const TempDir folder, lists;
  touch_cases(folder, {"a"});
  touch(lists, {"sub/b_ct.nii.gz", "sub/b_label.nii.gz"});
  write_text(lists / "mine.json", phantom_labels("\"root\": \"" + folder.path() + "\","));
  CHECK(read_label_folder(lists / "mine.json").train[0].image == folder / "a_ct.nii.gz");
  write_text(lists / "mine.json", phantom_labels(R"("root": "sub",)"));
  CHECK(read_label_folder(lists / "mine.json").train[0].image == lists / "sub/b_ct.nii.gz");
}

TEST_CASE("a pattern for images that matches label maps too takes images alone") {
  const TempDir folder;
  touch(folder, {"a.nii.gz", "a_seg.nii.gz", "b.nii.gz", "b_seg.nii.gz"});
  write_text(folder / "labels.json", R"({"dataset": "d", "modality": "mri", "image": "*.nii.gz",
    "label_map": "*_seg.nii.gz", "labels": {"x": 1}})");
  CHECK(ids(read_label_folder(folder.path()).train) == Ids{"a", "b"});
}

TEST_CASE("masks of their own are found by the structure's files, and a missing one means what `empty` says") {
  const TempDir folder;
  touch(folder, {"s1/ct.nii.gz", "s1/seg/kidney_left.nii.gz", "s1/seg/kidney_right.nii.gz", "s2/ct.nii.gz",
                 "s2/seg/kidney_left.nii.gz"});
  const auto with = [](const std::string& empty) {
    return R"({"dataset": "d", "modality": "ct", "image": "*/ct.nii.gz", "masks": "*/seg/{}.nii.gz", "empty": ")" +
           empty + R"(", "labels": {"left kidney": "kidney_left", "kidney": ["kidney_left", "kidney_right"]}})";
  };
  CHECK(contains(refusal(folder, with("refuse")), "case s2 of d: there is no mask"));
  write_text(folder / "labels.json", with("unlabelled"));
  const LabelledData data = read_label_folder(folder.path());
  CHECK(data.train[0].structures[1].paths.size() == 2);
  CHECK(data.train[1].structures.size() == 1);
  CHECK(data.train[1].unlabelled == Ids{"kidney"});
  write_text(folder / "labels.json", with("absent"));
  CHECK(read_label_folder(folder.path()).train[1].structures[1].paths.size() == 1);
}

TEST_CASE("a case can have its own modality, patient and unlabelled structures, whose values are then no surprise") {
  const TempDir folder;
  touch_cases(folder, {"a", "b"});
  write_text(folder / "labels.json", phantom_labels(R"("ignore": [255], "cases": {"b": {"modality": "mri",
    "patient": "p", "unlabelled": ["small ball"], "empty": "absent", "orientation": "ASR"}},)"));
  const LabelledData data = read_label_folder(folder.path());
  const LabelledCase& b = data.train[1];
  CHECK(b.modality == "mri");
  CHECK(b.patient == "p");
  CHECK(b.orientation == "ASR");
  CHECK(b.empty == EmptyLabel::absent);
  CHECK(b.unlabelled == Ids{"small ball"});
  CHECK(b.structures.size() == 2);
  CHECK(b.ignored == std::vector<int64_t>{255, 2});
}

TEST_CASE("lists, patterns and exclusions split cases") {
  const TempDir folder;
  touch_cases(folder, {"train/a", "train/b", "val/c", "x"});
  write_text(folder / "labels.json", phantom_labels(R"("train": ["train/*"], "validation": ["val/c"],
    "exclude": ["x"],)"));
  const LabelledData data = read_label_folder(folder.path());
  CHECK(ids(data.train) == Ids{"train/a", "train/b"});
  CHECK(ids(data.validation) == Ids{"val/c"});
  write_text(folder / "labels.json", phantom_labels(R"("validation": ["val/*"],)"));
  CHECK(ids(read_label_folder(folder.path()).train) == Ids{"train/a", "train/b", "x"});
}

TEST_CASE("a fraction for validation is the same every time, is by patient, and differs by seed") {
  const TempDir folder;
  Ids names;
  for (int i = 0; i < 20; ++i) names.push_back("c" + std::to_string(100 + i));
  touch_cases(folder, names);
  const std::string patients = R"("cases": {"c100": {"patient": "p"}, "c101": {"patient": "p"},
    "c102": {"patient": "p"}},)";
  const auto validation = [&](const std::string& seed) {
    write_text(folder / "labels.json",
               phantom_labels(patients + R"("validation_fraction": 0.25, "seed": )" + seed + ","));
    const Ids chosen = ids(read_label_folder(folder.path()).validation);
    const auto has = [&](const char* id) { return std::count(chosen.begin(), chosen.end(), id); };
    CHECK(has("c100") == has("c101"));
    CHECK(has("c100") == has("c102"));
    CHECK(chosen.size() >= 4);
    CHECK(chosen.size() <= 7);
    return chosen;
  };
  CHECK(validation("1") == validation("1"));
  CHECK(validation("1") != validation("2"));
  DatasetOptions options;
  options.validation_fraction = 0.5;
  CHECK(read_label_folder(folder.path(), options).validation.size() >= 9);
}

TEST_CASE("what is wrong with labels.json is said") {
  const TempDir folder;
  touch_cases(folder, {"a", "b"});
  CHECK(contains(refusal(folder, phantom_labels(R"("modalty": "ct",)")), "there is no key 'modalty'; known are"));
  CHECK(contains(refusal(folder, "{"), "labels.json"));
  CHECK(contains(refusal(folder, phantom_labels(R"("cases": {"z": {}},)")), "there is no case 'z'"));
  CHECK(contains(refusal(folder, phantom_labels(R"("cases": {"a": {"image": "x"}},)")), "there is no key 'image'"));
  CHECK(contains(refusal(folder, phantom_labels(R"("cases": {"a": {"unlabelled": ["lung"]}},)")),
                 "there is no label 'lung'"));
  CHECK(contains(refusal(folder, phantom_labels(R"("train": ["a"], "validation": ["a", "b"],)")),
                 "case 'a' is for training and validation"));
  CHECK(contains(refusal(folder, phantom_labels(R"("train": ["z*"],)")), "'z*' names no further case"));
  CHECK(contains(refusal(folder, phantom_labels(R"("train": ["a"], "validation": ["b"],
    "cases": {"a": {"patient": "p"}, "b": {"patient": "p"}},)")),
                 "patient 'p' has cases for training and for validation"));
  CHECK(contains(refusal(folder, phantom_labels(R"("empty": "maybe",)")), "'maybe' says nothing of empty structures"));
  const std::string start = R"({"dataset": "d", "modality": "ct", "image": "*_ct.nii.gz", "label_map": "*_label.nii.gz",
    "labels": )";
  CHECK(contains(refusal(folder, start + R"({"x": 0}})"), "0 is the background"));
  CHECK(contains(refusal(folder, start + R"({"x": [1, "y"]}})"), "and not both"));
  CHECK(contains(refusal(folder, start + R"({"none": 1}})"), "'none' is no name of a structure"));
  CHECK(contains(refusal(folder, start + "{}}"), "there is no label"));
  CHECK(contains(refusal(folder, R"({"dataset": "d", "modality": "ct", "image": "ct.nii.gz", "labels": {"x": 1}})"),
                 "needs one *"));
  CHECK(contains(refusal(folder, R"({"dataset": "d", "modality": "ct", "image": "*.mha", "labels": {"x": 1}})"),
                 "no file in"));
  CHECK(contains(refusal(folder, R"({"dataset": "d", "modality": "xray", "image": "*_ct.nii.gz",
    "label_map": "*_label.nii.gz", "labels": {"x": 1}})"),
                 "xray"));
}

TEST_CASE("a case without its label map is left out aloud, or refused") {
  const TempDir folder;
  touch_cases(folder, {"a"});
  touch(folder, {"b_ct.nii.gz"});
  CHECK(contains(refusal(folder, phantom_labels()), "case b of balls: there is no label map"));
  std::vector<CaseProblem> problems;
  DatasetOptions options;
  options.on_problem = [&](const CaseProblem& problem) { problems.push_back(problem); };
  CHECK(ids(read_label_folder(folder.path(), options).train) == Ids{"a"});
  REQUIRE(problems.size() == 1);
  CHECK(problems[0].id == "b");
}

TEST_CASE("patients for validation depend on their set alone, and some are left for training") {
  const Ids names{"a", "b", "c", "d", "e", "e", "f"};
  Ids turned(names.rbegin(), names.rend());
  CHECK(validation_patients(names, "d", 0.3, 4) == validation_patients(turned, "d", 0.3, 4));
  CHECK(validation_patients(names, "d", 0.3, 4).size() == 2);
  CHECK(validation_patients(names, "d", 0, 4).empty());
  CHECK(validation_patients(names, "d", 0.01, 4).size() == 1);
  CHECK(validation_patients(names, "d", 0.99, 4).size() == 5);
  CHECK_THROWS_AS(validation_patients(names, "d", 1.5, 4), Error);
}
