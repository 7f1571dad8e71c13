// sat evaluate from outside: masks are scored against labels, by files and by a model, and tables are compared.
#include <doctest/doctest.h>

#include <filesystem>
#include <string>

#include "sat/io/files/file.h"
#include "sat/io/nifti/nifti.h"
#include "sat/io/tables/csv.h"
#include "sat/io/words/json.h"
#include "tests/support/decode_png.h"
#include "tests/support/program.h"
#include "tests/support/tiny_case.h"

using namespace sat;
using namespace sat::test;
using doctest::Approx;

namespace {

namespace fs = std::filesystem;

/// A box of the grid: [start, start + size) along each axis.
struct Box {
  std::array<int64_t, 3> start, size;
};

NiftiHeader header_of(const std::array<int64_t, 3>& size, double shift_mm = 0) {
  Geometry geometry;
  geometry.size = size;
  geometry.voxel_to_world_mm.m[2][2] = 3;
  geometry.voxel_to_world_mm.m[0][3] = shift_mm;
  return header_for(geometry);
}

/// A label map in which box i has the value i + 1.
void write_labels(const std::string& path, const std::vector<Box>& boxes,
                  const std::array<int64_t, 3>& size = {20, 20, 12}, double shift_mm = 0) {
  Tensor voxels({size[0], size[1], size[2]}, DType::u8);
  uint8_t* out = voxels.data<uint8_t>();
  std::fill_n(out, voxels.numel(), uint8_t(0));
  for (size_t i = 0; i < boxes.size(); ++i) {
    for (int64_t v = 0; v < voxels.numel(); ++v) {
      const std::array<int64_t, 3> at{v / size[2] / size[1], v / size[2] % size[1], v % size[2]};
      bool inside = true;
      for (size_t axis = 0; axis < 3; ++axis) {
        inside = inside && at[axis] >= boxes[i].start[axis] && at[axis] < boxes[i].start[axis] + boxes[i].size[axis];
      }
      if (inside) out[v] = uint8_t(i + 1);
    }
  }
  fs::create_directories(fs::path(path).parent_path());
  write_nifti(path, voxels, header_of(size, shift_mm));
}

const Box kLiver{{4, 5, 3}, {10, 10, 6}}, kSpleen{{0, 0, 0}, {3, 3, 3}}, kNothing{{0, 0, 0}, {0, 0, 0}};

Box shifted(Box box, int64_t by) {
  box.start[0] += by;
  return box;
}

/// Labels of two cases with a liver and a spleen, which the second lacks, and label maps that are predicted.
struct Study {
  TempDir folder;
  std::string labels = folder / "labels", predictions = folder / "predictions", output = folder / "out";

  explicit Study(const std::string& empty = "unlabelled") {
    for (const char* name : {"a", "b"}) {
      write_labels(labels + "/" + name + "_ct.nii.gz", {{{0, 0, 0}, {20, 20, 12}}});
      write_labels(labels + "/" + name + "_seg.nii.gz", {kLiver, std::string(name) == "a" ? kSpleen : kNothing});
    }
    write_file_atomically(labels + "/labels.json",
                          R"({"dataset": "study", "modality": "ct", "image": "*_ct.nii.gz", "empty": ")" + empty +
                              R"(", "label_map": "*_seg.nii.gz", "labels": {"liver": 1, "spleen": 2}})");
    write_labels(predictions + "/a.nii.gz", {shifted(kLiver, 1), kSpleen});
    write_labels(predictions + "/b.nii.gz", {shifted(kLiver, 2), kSpleen});
  }

  Ran evaluate(const Words& more = {}) const {
    Words words{"evaluate", predictions, labels, "-o", output, "--samples", "20", "--threads", "1"};
    words.insert(words.end(), more.begin(), more.end());
    return sat_run(words);
  }
};

/// Fields of results.csv by case and structure.
struct Table {
  CsvTable csv;
  explicit Table(const std::string& folder) : csv(read_csv(folder + "/results.csv")) {}

  std::string text(const std::string& of, const std::string& structure, const std::string& column) const {
    for (int64_t row = 0; row < csv.rows(); ++row) {
      if (csv.field(row, csv.column("case")) == of && csv.field(row, csv.column("structure")) == structure) {
        return std::string(csv.field(row, csv.column(column)));
      }
    }
    return "no such row";
  }
  double number(const std::string& of, const std::string& structure, const std::string& column) const {
    return std::stod(text(of, structure, column));
  }
};

}  // namespace

TEST_CASE("label maps are scored against labels, in a table, a summary and a picture") {
  const Study study;
  const Ran ran = study.evaluate();
  CAPTURE(ran.err);
  REQUIRE(ran.status == 0);
  const Table table(study.output);
  CHECK(table.csv.rows() == 3);  // the second case's spleen is not labelled
  CHECK(table.number("a", "liver", "dice") == Approx(0.9));
  CHECK(table.number("a", "liver", "nsd") == Approx(1));
  CHECK(table.number("b", "liver", "dice") == Approx(0.8));
  CHECK(table.number("b", "liver", "nsd") == Approx(0.66166947));
  CHECK(table.number("b", "liver", "sat_nsd") == Approx(0.66166947));  // the grid is that of SAT's protocol
  CHECK(table.number("b", "liver", "hd95_mm") == Approx(2));
  CHECK(table.number("a", "liver", "truth_ml") == Approx(1.8));
  CHECK(table.number("a", "spleen", "volume_error_ml") == 0);
  const Json summary = Json::parse(read_text(study.output + "/summary.json"), "summary");
  CHECK(summary["overall"]["scores"]["dice"]["mean"].number() == Approx(0.925));  // of 0.85 and 1
  CHECK(summary["classes"][0]["name"].string() == "ct_liver");
  CHECK(summary["datasets"][0]["name"].string() == "study(ct)");
  CHECK(summary["not_labelled"].integer() == 1);
  CHECK(decode_png(read_text(study.output + "/scores.png")).shape[2] == 3);
  CHECK(contains(ran.out, "ct_liver"));
}

TEST_CASE("a structure that is absent by its labels is scored by the rules for empty masks") {
  const Study study("absent");
  REQUIRE(study.evaluate({"--no-chart"}).status == 0);
  const Table table(study.output);
  CHECK(table.csv.rows() == 4);
  CHECK(table.number("b", "spleen", "dice") == 0);
  CHECK(table.text("b", "spleen", "hd95_mm") == "");
  CHECK(table.text("b", "spleen", "volume_error") == "");
  CHECK(!fs::exists(study.output + "/scores.png"));
}

TEST_CASE("a folder of one mask a structure is scored, regions come from a file, and structures can be chosen") {
  const Study study;
  for (const char* name : {"a", "b"}) {
    write_labels(study.folder / "masks/" + std::string(name) + "_ct/liver.nii.gz", {kLiver});
  }
  write_file_atomically(study.folder / "regions.json", R"({"abdomen": ["liver"], "all": ["ct_liver"]})");
  const Ran ran = sat_run({"evaluate", study.folder / "masks", study.labels, "-o", study.output, "--structures",
                           "liver", "--regions", study.folder / "regions.json", "--quiet"});
  CAPTURE(ran.err);
  REQUIRE(ran.status == 0);
  CHECK(Table(study.output).number("b", "liver", "dice") == 1);
  CHECK(Table(study.output).text("b", "liver", "region") == "abdomen");
  const Json summary = Json::parse(read_text(study.output + "/summary.json"), "summary");
  CHECK(summary["regions"][0]["name"].string() == "abdomen");
}

TEST_CASE("SAT's own records say what is true as well") {
  const Study study;
  std::string records;
  for (const char* name : {"a", "b"}) {
    records += R"({"image": "labels/)" + std::string(name) + R"(_ct.nii.gz", "mask": "labels/)" + name +
               R"(_seg.nii.gz", "label": ["liver", "spleen"], "modality": "ct", "dataset": "records", )" +
               R"("official_split": "unknown", "patient_id": "one"})" + "\n";
  }
  write_file_atomically(study.folder / "records.jsonl", records);
  for (const char* name : {"a", "b"}) {
    fs::rename(study.predictions + "/" + name + ".nii.gz", study.predictions + "/" + name + "_ct.nii.gz");
  }
  const Ran ran = sat_run({"evaluate", study.predictions, study.folder / "records.jsonl", "-o", study.output});
  CAPTURE(ran.err);
  REQUIRE(ran.status == 0);
  const CsvTable table = read_csv(study.output + "/results.csv");
  CHECK(table.rows() == 4);  // records: what has no voxel is absent
  CHECK(table.field(0, table.column("dataset")) == "records");
  CHECK(table.field(0, table.column("patient")) == "one");
  CHECK(table.field(0, table.column("dice")) == "0.9");
}

TEST_CASE("what cannot be scored is named with its case, and the rest is scored") {
  const Study study;
  SUBCASE("a prediction that is missing") {
    fs::remove(study.predictions + "/a.nii.gz");
    const Ran ran = study.evaluate();
    CHECK(ran.status == 2);
    CHECK(contains(ran.err, "case a of study: there is no prediction in"));
    CHECK(Table(study.output).csv.rows() == 1);
    const Json summary = Json::parse(read_text(study.output + "/summary.json"), "summary");
    CHECK(summary["problems"][0]["case"].string() == "a");
  }
  SUBCASE("another size") {
    write_labels(study.predictions + "/a.nii.gz", {kLiver}, {20, 20, 11});
    const Ran ran = study.evaluate();
    CHECK(ran.status == 2);
    CHECK(contains(ran.err, "a.nii.gz: has 20 x 20 x 11 voxels, and "));
  }
  SUBCASE("another place") {
    write_labels(study.predictions + "/b.nii.gz", {kLiver}, {20, 20, 12}, 0.5);
    const Ran ran = study.evaluate();
    CHECK(ran.status == 2);
    CHECK(contains(ran.err, "up to 0.5 mm apart; at most 0.1 mm are allowed"));
  }
  SUBCASE("a damaged file") {
    const std::string whole = read_text(study.predictions + "/a.nii.gz");
    write_file_atomically(study.predictions + "/a.nii.gz", whole.substr(0, whole.size() / 2));
    const Ran ran = study.evaluate();
    CHECK(ran.status == 2);
    CHECK(contains(ran.err, "a.nii.gz"));
    CHECK(Table(study.output).csv.rows() == 1);
  }
  SUBCASE("and with --on-error stop the run ends there") {
    fs::remove(study.predictions + "/a.nii.gz");
    const Ran ran = study.evaluate({"--on-error", "stop"});
    CHECK(ran.status == 1);
    CHECK(!fs::exists(study.output + "/summary.json"));
  }
  SUBCASE("a label that nobody named") {
    write_labels(study.labels + "/a_seg.nii.gz", {kLiver, kSpleen, {{15, 15, 10}, {2, 2, 2}}});
    const Ran ran = study.evaluate();
    CHECK(ran.status == 2);
    CHECK(contains(ran.err, "holds the value 3, which belongs to no label"));
  }
}

TEST_CASE("results of sat segment are scored as the model itself is, in both spaces") {
  const TinyCase tiny;
  REQUIRE(sat_run(tiny.segment({tiny.scan}, tiny.asked())).status == 0);
  const std::string labels = tiny.folder / "labels", by_files = tiny.folder / "files", by_model = tiny.folder / "model";
  fs::create_directories(labels);
  fs::copy_file(tiny.scan, labels + "/scan.nii");
  fs::copy_file(tiny.output + "/scan/masks/prompt 0.nii.gz", labels + "/scan-first.nii.gz");
  fs::copy_file(tiny.output + "/scan/masks/prompt 0.nii.gz", labels + "/scan-second.nii.gz");
  write_file_atomically(labels + "/labels.json",
                        R"({"dataset": "tiny", "modality": "mri", "image": "*.nii", "masks": "*-{}.nii.gz",
                            "empty": "absent", "labels": {"prompt 0": "first", "prompt 1": "second"}})");
  const Ran files = sat_run({"evaluate", tiny.output, labels, "-o", by_files, "--samples", "5"});
  CAPTURE(files.err);
  REQUIRE(files.status == 0);
  CHECK(Table(by_files).number("scan", "prompt 0", "dice") == 1);
  CHECK(Table(by_files).number("scan", "prompt 0", "sat_nsd") == 1);
  CHECK(Table(by_files).number("scan", "prompt 1", "dice") < 1);
  const Ran model = sat_run({"evaluate", labels, "--model", tiny.model, "--bank", tiny.bank, "--device", "cpu", "-o",
                             by_model, "--samples", "5", "--keep-masks"});
  CAPTURE(model.err);
  REQUIRE(model.status == 0);
  CHECK(read_text(by_model + "/results.csv") == read_text(by_files + "/results.csv"));
  CHECK(fs::exists(by_model + "/masks/scan/prompt 1.nii.gz"));
}

TEST_CASE("two tables of the same cases are compared by a paired test") {
  const TempDir folder;
  std::string a = "dataset,case,modality,structure,dice,nsd\n", b = a;
  for (int i = 0; i < 5; ++i) {
    const std::string row = "study,c" + std::to_string(i) + ",ct,liver,";
    a += row + "0.5,0.5\n";
    b += row + "0.6" + std::to_string(i) + ",0.5\n";
  }
  a += "study,c9,ct,liver,0.1,0.1\n";
  b += "study,c0,ct,spleen,0.1,\n";
  write_file_atomically(folder / "a.csv", a);
  write_file_atomically(folder / "b.csv", b);
  const Ran shown = sat_run({"evaluate", "--compare", folder / "a.csv", folder / "b.csv", "--score", "dice"});
  CHECK(shown.status == 0);
  CHECK(contains(shown.out, "ct_liver"));
  const Ran ran =
      sat_run({"evaluate", "--compare", folder / "a.csv", folder / "b.csv", "--score", "dice,nsd", "--json", "-"});
  REQUIRE(ran.status == 0);
  const Json json = Json::parse(ran.out, "stdout");
  CHECK(json["only_in_a"].integer() == 1);
  CHECK(json["only_in_b"].integer() == 1);
  const Json& liver = json["scores"][0]["structures"][0];
  CHECK(liver["p"].number() == 2.0 / 32);  // five differences of one sign
  CHECK(liver["difference"].number() == Approx(0.12));
  CHECK(json["scores"][1]["overall"]["p"].is_null());  // no difference
  const Ran missing = sat_run({"evaluate", "--compare", folder / "a.csv", folder / "b.csv", "--score", "sat_dice"});
  CHECK(missing.status == 1);
  CHECK(contains(missing.err, "sat_dice"));
  CHECK(sat_run({"evaluate", "--compare", folder / "a.csv"}).status == 64);
}

TEST_CASE("requests for an evaluation that make no sense are usage errors") {
  const Study study;
  CHECK(sat_run({"evaluate", study.labels, "-o", study.output}).status == 64);
  CHECK(sat_run({"evaluate", study.predictions, study.labels}).status == 64);
  CHECK(sat_run({"evaluate", study.predictions, study.labels, "-o", study.output, "--shipped-model"}).status == 64);
  CHECK(study.evaluate({"--part", "some"}).status == 64);
  const Ran unknown = study.evaluate({"--structures", "livre"});
  CHECK(unknown.status == 1);
  CHECK(contains(unknown.err, "no case has labels of 'livre'"));
}
