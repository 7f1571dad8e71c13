// The `sat` program from outside: what it prints, what it writes, how it ends. Segmentation runs the shipped model on a
// synthetic scan of one window.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "sat/io/files/file.h"
#include "sat/io/files/hash.h"
#include "sat/io/nifti/nifti.h"
#include "sat/io/words/json.h"
#include "sat/tensor/context.h"
#include "tests/support/golden.h"
#include "tests/support/program.h"

using namespace sat;
using namespace sat::test;

namespace {

namespace fs = std::filesystem;

Json json_file(const std::string& path) { return Json::parse(test::read_text(path), path); }

/// A ball of soft tissue with a bright core, in air: 40 x 36 x 32 voxels of 4 x 4 x 3 mm, first axis to the left.
std::string write_scan(const std::string& path) {
  Geometry geometry;
  geometry.size = {40, 36, 32};
  geometry.voxel_to_world_mm.m = {{{-4, 0, 0, 80}, {0, 4, 0, -70}, {0, 0, 3, -50}, {0, 0, 0, 1}}};
  Tensor voxels({40, 36, 32});
  for (int64_t h = 0; h < 40; ++h) {
    for (int64_t w = 0; w < 36; ++w) {
      for (int64_t d = 0; d < 32; ++d) {
        const double r = std::hypot(double(h) - 20, double(w) - 18, double(d) - 16);
        voxels.data<float>()[(h * 36 + w) * 32 + d] = r < 5    ? 600.f
                                                      : r < 14 ? 40.f + float((h * 7 + w * 3 + d) % 5)
                                                               : -1000.f;
      }
    }
  }
  write_nifti(path, voxels, header_for(geometry));
  return path;
}

Words segment(const Words& scans, const std::string& output, const Words& more = {}) {
  Words words{"segment"};
  words.insert(words.end(), scans.begin(), scans.end());
  for (const char* word : {"--prompts", "brainstem,mandible", "--modality", "ct", "--threads", "2", "-o"})
    words.push_back(word);
  words.push_back(output);
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

}  // namespace

TEST_CASE("every subcommand explains itself, with an example") {
  const Ran all = sat_run({"--help"});
  CHECK(all.status == 0);
  for (const char* name : {"segment", "plan", "prompts", "bank", "convert", "inspect", "bench"}) {
    CAPTURE(name);
    CHECK(contains(all.out, name));
    const Ran page = sat_run({name, "--help"});
    CHECK(page.status == 0);
    CHECK(page.err == "");
    CHECK(contains(page.out, std::string("Usage: sat ") + name));
    CHECK(contains(page.out, std::string("Examples:\n  sat ") + name));
  }
  CHECK(contains(sat_run({"--version"}).out, "sat 0."));
  const Ran nothing = sat_run({});
  CHECK(nothing.status == 64);
  CHECK(nothing.err == all.out);
}

TEST_CASE("wrong usage ends with status 64 and one sentence that says what is wrong") {
  const TempDir folder;
  const std::string scan = write_scan(folder / "scan.nii.gz");
  const struct {
    Words words;
    const char* message;
  } uses[] = {
      {{"segmnt"}, "there is no command 'segmnt'; did you mean segment?"},
      {{"segment", "--promts", "a"}, "unknown option --promts; did you mean --prompts?"},
      {{"segment", scan, "--prompts", "brainstem", "-o", "x"}, "--modality is missing"},
      {{"segment", scan, "--modality", "ct", "-o", "x"}, "--prompts or --prompts-file is missing"},
      {{"segment", scan, "--modality", "ct", "--prompts", "brainstem"}, "--output is required"},
      {{"segment", "--modality", "ct", "--prompts", "brainstem", "-o", "x"}, "SCAN is required"},
      {segment({scan}, "x", {"--prompts", "a"}), "--prompts: At Most 1 required but received 2"},
      {segment({scan}, "x", {"--scratch", "x", "--no-scratch"}), "--scratch excludes --no-scratch"},
      {segment({scan}, "x", {"--max-ram", "much"}), "--max-ram: 'much' is not an amount of memory such as 6G"},
      {{"plan", scan, "--modality"}, "--modality: 1 required M missing"},
      {segment({scan}, "x", {"--cpu", "sse"}), "--cpu: unknown CPU level 'sse'"},
      {segment({scan}, "x", {"--format", "nrrd"}), "--format: nrrd not in {nii.gz,nii}"},
      {segment({scan}, "x", {"--quiet=maybe"}), "--quiet = maybe"},
      {segment({scan}, "x", {"--threads", "2k"}), "--threads"},
      {segment({scan}, "x", {"--bank", "a", "--text-model", "b", "--vocab", "c"}), "--bank excludes --text-model"},
      {segment({scan}, "x", {"--text-model", "b"}), "--text-model requires --vocab"},
      {segment({scan}, "x", {"--model", "b"}), "--model needs --bank"},
      {{"plan", scan, "--modality", "ct"}, "plan needs --prompts-count"},
      {{"plan", scan, "--modality", "ct", "--prompts-count", "0"}, "--prompts-count: Value 0 not in range 1 to 100000"},
      {{"plan", scan, "--modality", "ct", "--prompts-count", "1", "--prompts", "a"}, "excludes"},
      {{"plan", scan, scan, "--modality", "ct", "--prompts-count", "1"}, "is one word too many"},
      {{"plan", scan, "--modality", "ct", "--prompts", "a,A"}, "the prompts 'a' and 'A' are the same"},
      {{"plan", scan, "--modality", "ct", "--prompts", "a,,b"}, "an empty prompt"},
      {{"prompts"}, "A subcommand is required"},
      {{"prompts", "lost"}, "there is no command 'lost'; did you mean list?"},
      {{"convert", scan}, "a file to read and a file to write"},
      {{"convert", scan, "x.pth"}, "must end in .safetensors"},
      {{"convert", scan, "x.safetensors", "--dtype", "i8"}, "--dtype: 'i8' is not f32, bf16 or f16"},
      {{"inspect"}, "FILE is required"},
      {{"bank", "--text-model", "x", "-o", "x"}, "--vocab is required"}};
  for (const auto& use : uses) {
    const Ran ran = sat_run(use.words);
    CAPTURE(ran.err);
    CAPTURE(use.message);
    CHECK(ran.status == 64);
    CHECK(contains(ran.err, use.message));
    CHECK(ran.err.rfind("sat: ", 0) == 0);
    CHECK(std::count(ran.err.begin(), ran.err.end(), '\n') == 1);
    CHECK(ran.out == "");
  }
  CHECK_FALSE(fs::exists("x"));
}

TEST_CASE("what cannot be read ends with status 1 and names the file") {
  const TempDir folder;
  write_file_atomically(folder / "junk.bin", "this is no checkpoint, and no scan either");
  for (const Words& words : {Words{"inspect", folder / "junk.bin"}, Words{"inspect", folder / "gone"},
                             Words{"convert", folder / "junk.bin", folder / "out.safetensors"},
                             Words{"plan", folder / "junk.bin", "--modality", "ct", "--prompts-count", "1"},
                             segment({folder / "gone.nii"}, folder / "o"),
                             Words{"bank", "--text-model", folder / "junk.bin", "--vocab", folder / "junk.bin", "-o",
                                   folder / "out.safetensors"}}) {
    const Ran ran = sat_run(words);
    CAPTURE(ran.err);
    CHECK(ran.status == 1);
    CHECK((contains(ran.err, "junk.bin") || contains(ran.err, "gone")));
  }
  CHECK_FALSE(fs::exists(folder / "out.safetensors"));
  CHECK(names_in(folder / "o").empty());
}

TEST_CASE("prompts: listing, searching, and checking words and modalities") {
  const Ran list = sat_run({"prompts", "list"});
  CHECK(std::count(list.out.begin(), list.out.end(), '\n') == 451);
  CHECK(contains(sat_run({"prompts", "list", "--modality", "pet"}).out, "pet"));
  CHECK(Json::parse(sat_run({"prompts", "list", "--modality", "MRI T1", "--json"}).out, "stdout").size() < 451);
  CHECK(sat_run({"prompts", "search", "left", "kidnei"}).out.rfind("left kidney ", 0) == 0);
  CHECK(sat_run({"prompts", "search", "kidney", "left"}).out.rfind("left kidney ", 0) == 0);
  CHECK(sat_run({"prompts", "search", "qqqqq"}).status == 1);

  CHECK(sat_run({"prompts", "check", "--prompts", "Liver, \"left  kidney\"", "--modality", "ct"}).status == 0);
  const Ran check = sat_run({"prompts", "check", "--prompts", "livr,amygdala", "--modality", "ct"});
  CHECK(check.status == 1);
  CHECK(contains(check.out, "'livr' is not among the names"));
  CHECK(contains(check.out, "did you mean \"liver\""));
  CHECK(contains(check.out, "'amygdala' was never labelled in ct scans during training, only in mri"));
}

TEST_CASE("plan tells bytes and windows from headers, and refuses a limit that is too low with the figure") {
  const TempDir folder;
  const std::string scan = write_scan(folder / "scan.nii");
  const Words plan{"plan", scan, "--modality", "ct", "--prompts-count", "3"};
  Words as_json = plan;
  as_json.push_back("--json");
  const Ran ran = sat_run(as_json);
  REQUIRE(ran.status == 0);
  const Json json = Json::parse(ran.out, "stdout");
  CHECK(json["windows"].integer() == 1);
  CHECK(json["resampled"].integers() == std::vector<int64_t>{40, 36, 32});
  CHECK(json["keeps"].string() == "features");
  CHECK(json["scratch_bytes"].integer() == 0);
  CHECK(contains(sat_run(plan).out, "until blended, windows wait as features\n"));
  Words limited = plan;
  limited.insert(limited.end(), {"--max-ram", "100M"});
  const Ran refused = sat_run(limited);
  CHECK(refused.status == 1);
  CHECK(contains(refused.err, "needs " + std::to_string(json["peak_bytes"].integer()) + " bytes ("));
  CHECK(contains(refused.err, "the limit is 104857600 bytes (100 MiB)"));
  Words published = plan;
  published.insert(published.end(), {"--architecture", "UNET"});
  CHECK(contains(sat_run(published).out, "288 x 288 x 96"));
}

TEST_CASE("convert keeps a model's identity and inspect tells what it is") {
  const TempDir folder;
  const std::string model = test::source_path("weights/sat-small.safetensors");
  REQUIRE(sat_run({"convert", model, folder / "f32.safetensors"}).status == 0);
  const Json before = Json::parse(sat_run({"inspect", model, "--json"}).out, "stdout");
  const Json after = Json::parse(sat_run({"inspect", folder / "f32.safetensors", "--json", "--all"}).out, "stdout");
  CHECK(before["kind"].string() == "segmentation model");
  CHECK(before["identity"].string() == after["identity"].string());
  CHECK(before["file_sha256"].string() != after["file_sha256"].string());
  CHECK(after["types"]["f32"].integer() == after["tensors"].integer());
  CHECK(int64_t(after["all_tensors"].size()) == after["tensors"].integer());
  const Ran bank = sat_run({"inspect", test::source_path("weights/sat-small-bank.safetensors")});
  CHECK(contains(bank.out, "embedding bank"));
  CHECK(contains(bank.out, before["text_model_sha256"].string()));
}

TEST_CASE("inspect says what a damaged model was meant to be, and what is wrong with it") {
  const TempDir folder;
  std::string bytes = test::read_text(test::source_path("weights/sat-small.safetensors"));
  const std::string lost = "backbone.decoder.stages.0.convs.0.norm.bias";
  bytes.replace(bytes.find(lost) + lost.size() - 4, 4, "bios");
  write_file_atomically(folder / "damaged.safetensors", bytes);
  const Ran ran = sat_run({"inspect", folder / "damaged.safetensors", "--json"});
  CHECK(ran.status == 1);
  const Json report = Json::parse(ran.out, "stdout");
  CHECK(report["kind"].string() == "segmentation model");
  CHECK(report["architecture"].string() == "U-Net");
  CHECK(contains(report["problem"].string(), "'" + lost + "'"));
}

TEST_CASE("segment writes masks on the scan's grid, a label map, legends, statistics, a preview and a manifest") {
  const TempDir folder;
  const std::string scan = write_scan(folder / "head.nii.gz"), output = folder / "out";
  const Ran ran = sat_run(segment({scan}, output, {"--json", "--quiet", "--save-probabilities"}));
  REQUIRE(ran.status == 0);
  CHECK(ran.err == "");
  const Json line = Json::parse(ran.out, "stdout");
  CHECK(line["status"].string() == "done");
  const std::string at = output + "/head/";
  for (const char* name : {"labels.txt", "labels.json", "preview.png"}) CHECK(fs::file_size(at + name) > 0);

  const NiftiScan original = read_nifti(scan), labels = read_nifti(at + "labels.nii.gz");
  const Json statistics = json_file(at + "statistics.json");
  Tensor masks[2];
  for (int i = 0; i < 2; ++i) {
    const std::string name = i == 0 ? "brainstem" : "mandible";
    const NiftiScan mask = read_nifti(at + "masks/" + name + ".nii.gz");
    CHECK(mask.volume.geometry.size == original.volume.geometry.size);
    CHECK(mask.volume.geometry.voxel_to_world_mm.m == original.volume.geometry.voxel_to_world_mm.m);
    CHECK(mask.header.datatype == 2);
    masks[i] = mask.volume.voxels;
    const NiftiScan probability = read_nifti(at + "probabilities/" + name + ".nii");
    int64_t set = 0, unlike = 0;
    for (int64_t v = 0; v < masks[i].numel(); ++v) {
      set += masks[i].data<float>()[v] == 1;
      unlike += (probability.volume.voxels.data<float>()[v] > 0.5f) != (masks[i].data<float>()[v] == 1);
    }
    CHECK(unlike == 0);
    CHECK(statistics["structures"][i]["name"].string() == name);
    CHECK(statistics["structures"][i]["voxels"].integer() == set);
    CHECK(statistics["structures"][i]["volume_mm3"].number() == doctest::Approx(double(set) * 48));
    CHECK(line["structures"][i]["voxels"].integer() == set);
  }
  int64_t wrong = 0;
  for (int64_t v = 0; v < masks[0].numel(); ++v) {
    const float label = labels.volume.voxels.data<float>()[v];
    const bool any = masks[0].data<float>()[v] + masks[1].data<float>()[v] > 0;
    wrong += any ? label < 1 || masks[int(label) - 1].data<float>()[v] != 1 : label != 0;
  }
  CHECK(wrong == 0);

  const Json manifest = json_file(at + "manifest.json");
  CHECK(manifest["request"]["prompts"].strings() == Words{"brainstem", "mandible"});
  CHECK(manifest["decisions"]["windows"].integer() == 1);
  CHECK(manifest["decisions"]["orientation"].string() == "RAS");
  CHECK(manifest["scan"]["orientation"].string() == "LAS");
  for (const char* stage : {"read", "encode prompts", "preprocess", "plan", "network", "blend", "restore",
                            "write masks", "label map", "statistics", "preview"}) {
    CAPTURE(stage);
    CHECK(manifest["seconds"][stage].number() > 0);
  }
  CHECK(manifest["peak_tensor_bytes"].number() <= 1.05 * manifest["plan"]["tensor_bytes"].number());
  for (const Json::Member& file : manifest["files"].members()) {
    CHECK(int64_t(fs::file_size(at + file.first)) == file.second["bytes"].integer());
    CHECK(sha256_of_file(at + file.first) == file.second["sha256"].string());
  }
  CHECK(names_in(output) == Words{"head"});
}

TEST_CASE("masks have the same bytes for any number of threads and any batch of prompts") {
  const TempDir folder;
  const std::string scan = write_scan(folder / "head.nii.gz");
  REQUIRE(sat_run({"segment", scan, "--prompts", "mandible", "--modality", "ct", "--threads", "1", "-o", folder / "a",
                   "--no-preview"})
              .status == 0);
  REQUIRE(sat_run({"segment", scan, "--prompts", "brainstem,larynx,mandible", "--modality", "ct", "--threads", "3",
                   "-o", folder / "b", "--no-preview"})
              .status == 0);
  const std::string mask = "/head/masks/mandible.nii.gz";
  CHECK(test::read_text((folder / "a") + mask) == test::read_text((folder / "b") + mask));
  CHECK_FALSE(fs::exists((folder / "a") + "/head/preview.png"));
}

TEST_CASE("every CPU level finds the same structures, but for a handful of voxels at their borders") {
  const TempDir folder;
  const std::string scan = write_scan(folder / "head.nii.gz");
  const auto found = [&](const std::string& level) {
    const std::string output = folder / level;
    const Ran ran = sat_run(segment({scan}, output, {"--cpu", level, "--no-preview", "--quiet"}));
    CAPTURE(ran.err);
    REQUIRE(ran.status == 0);
    CHECK(json_file(output + "/head/manifest.json")["decisions"]["cpu"].string() == level);
    return read_nifti(output + "/head/labels.nii.gz").volume.voxels;
  };
  const Tensor best = found(name_of(best_cpu_level()));
  CHECK(std::count(best.data<float>(), best.data<float>() + best.numel(), 0.f) < best.numel());
  for (CpuLevel level : {CpuLevel::plain, CpuLevel::avx2, CpuLevel::avx512}) {
    if (level >= best_cpu_level()) continue;
    const std::string name = name_of(level);
    CAPTURE(name);
    const Tensor other = found(name);
    REQUIRE(other.shape == best.shape);
    int64_t unlike = 0;
    for (int64_t v = 0; v < best.numel(); ++v) unlike += other.data<float>()[v] != best.data<float>()[v];
    CHECK(unlike <= 5);
  }
}

TEST_CASE("a finished case is skipped, and redone when the request, the scan or its files changed") {
  const TempDir folder;
  const std::string scan = write_scan(folder / "head.nii.gz"), output = folder / "out";
  const auto status = [&](const Words& more) {
    Words words = segment({scan}, output, {"--json", "--no-preview"});
    words.insert(words.end(), more.begin(), more.end());
    const Ran ran = sat_run(words);
    CAPTURE(ran.err);
    return ran.status == 0 ? Json::parse(ran.out, "stdout")["status"].string() : "failed: " + ran.err;
  };
  CHECK(status({}) == "done");
  CHECK(status({}) == "skipped");
  fs::last_write_time(scan, fs::file_time_type::clock::now());
  CHECK(status({}) == "skipped");  // another time, but the same bytes
  CHECK(status({"--overwrite"}) == "done");
  CHECK(status({"--format", "nii"}) == "done");
  CHECK(names_in(output + "/head/masks") == Words{"brainstem.nii", "mandible.nii"});
  fs::remove(output + "/head/masks/mandible.nii");
  CHECK(status({"--format", "nii"}) == "done");

  const std::string model = test::source_path("weights/sat-small.safetensors"), converted = folder / "f32.safetensors";
  const Words bank{"--bank", test::source_path("weights/sat-small-bank.safetensors"), "--format", "nii"};
  const auto with = [&](Words more) {
    more.insert(more.end(), bank.begin(), bank.end());
    return status(more);
  };
  CHECK(with({"--model", model}) == "skipped");
  Json config = Json::parse(sat_run({"inspect", model, "--json"}).out, "stdout")["config"];
  Json preprocess = config["preprocess"], ct = preprocess["ct"];
  config.set("preprocess", preprocess.set("ct", ct.set("clip", Json::array({-400, 900}))));
  write_file_atomically(folder / "config.json", config.dump());
  CHECK(with({"--model", model, "--config", folder / "config.json"}) == "done");
  CHECK(with({"--model", model, "--config", folder / "config.json"}) == "skipped");
  CHECK(with({"--model", model}) == "done");
  REQUIRE(sat_run({"convert", model, converted}).status == 0);
  CHECK(with({"--model", converted}) == "done");  // the same identity, but other bytes
  const Json recorded = json_file(output + "/head/manifest.json")["model"];
  const Json inspected = Json::parse(sat_run({"inspect", converted, "--json"}).out, "stdout");
  CHECK(recorded["identity"].string() == inspected["identity"].string());
  CHECK(recorded["file_sha256"].string() == inspected["file_sha256"].string());

  write_file_atomically(output + "/head/notes.txt", "mine");
  CHECK(contains(status({}), "notes.txt was not written by sat"));
  CHECK(test::read_text(output + "/head/notes.txt") == "mine");
  CHECK(names_in(output) == Words{"head"});
}

TEST_CASE("a folder that holds something else is never replaced") {
  const TempDir folder;
  const std::string scan = write_scan(folder / "head.nii.gz"), output = folder / "out";
  fs::create_directories(output + "/head");
  write_file_atomically(output + "/head/thesis.doc", "years of work");
  const Ran ran = sat_run(segment({scan}, output, {"--overwrite"}));
  CHECK(ran.status == 1);
  CHECK(contains(ran.err, "no result of sat"));
  CHECK(test::read_text(output + "/head/thesis.doc") == "years of work");
}

TEST_CASE("one bad case does not stop the others, and leaves nothing") {
  const TempDir folder;
  const std::string scans = folder / "scans", output = folder / "out";
  fs::create_directories(scans);
  write_file_atomically(scans + "/a.nii", "no scan");
  write_scan(scans + "/b.nii.gz");
  write_file_atomically(scans + "/readme.txt", "passed over");
  const Ran ran = sat_run(segment({scans}, output, {"--json"}));
  CHECK(ran.status == 2);
  CHECK(contains(ran.err, "sat: a: "));
  CHECK(contains(ran.err, "1 done, 0 skipped, 1 failed"));
  CHECK(contains(ran.err, "1 of 1 windows, 100 %"));
  CHECK_FALSE(contains(ran.err, "0 of 1 windows, 100 %"));
  CHECK(std::count(ran.out.begin(), ran.out.end(), '\n') == 2);
  CHECK(names_in(output) == Words{"b"});
}

TEST_CASE("scans of one name get folders of their own, the same in any order and on every run") {
  const TempDir folder;
  fs::create_directories(folder / "x");
  fs::create_directories(folder / "y");
  const std::string x = write_scan(folder / "x/CT.nii"), y = write_scan(folder / "y/ct.nii.gz"),
                    output = folder / "out";
  REQUIRE(sat_run(segment({x, y}, output, {"--no-preview"})).status == 0);
  const Words names = names_in(output);
  CHECK(names.size() == 2);
  const Ran again = sat_run(segment({y, x}, output, {"--no-preview"}));
  CHECK(contains(again.err, "0 done, 2 skipped, 0 failed"));
  CHECK(names_in(output) == names);
}

TEST_CASE("JSON lines bring their own prompts and modality") {
  const TempDir folder;
  write_scan(folder / "head.nii.gz");
  write_file_atomically(
      folder / "requests.jsonl",
      "{\"image\": \"head.nii.gz\", \"label\": [\"Brainstem\", \"spinal cord\"], \"modality\": \"ct\", "
      "\"dataset\": \"set/1\", \"orientation_code\": \"RAS\"}\n\n");
  const Ran ran = sat_run({"segment", folder / "requests.jsonl", "-o", folder / "out", "--no-preview"});
  CAPTURE(ran.err);
  REQUIRE(ran.status == 0);
  CHECK(names_in((folder / "out") + "/set_1-head/masks") == Words{"Brainstem.nii.gz", "spinal cord.nii.gz"});
  write_file_atomically(folder / "requests.jsonl", "{\"image\": \"head.nii.gz\"\n");
  const Ran bad = sat_run({"segment", folder / "requests.jsonl", "-o", folder / "out"});
  CHECK(bad.status == 1);
  CHECK(contains(bad.err, "requests.jsonl (line 1)"));
}

TEST_CASE("a JSON line that is wrong fails alone, with its number, and the others run") {
  const TempDir folder;
  for (const char* name : {"a", "b", "c", "d", "e"}) write_scan(folder / (std::string(name) + ".nii.gz"));
  write_file_atomically(folder / "requests.jsonl",
                        "{\"image\": \"a.nii.gz\", \"label\": [\"mandibel\"], \"modality\": \"ct\"}\n"
                        "{\"image\": \"b.nii.gz\", \"label\": [\"mandible\"], \"modality\": \"x-ray\"}\n"
                        "{\"image\": \"c.nii.gz\", \"label\": [\"mandible\"]}\n"
                        "{\"image\": \"d.nii.gz\", \"label\": [\"mandible\", \n"
                        "{\"image\": \"e.nii.gz\", \"label\": [\"mandible\"], \"modality\": \"ct\"}\n"
                        "{\"image\": \"a.nii.gz\", \"label\": [\"mandible\", \"Mandible\"], \"modality\": \"ct\"}\n");
  const Ran ran = sat_run({"segment", folder / "requests.jsonl", "-o", folder / "out", "--no-preview", "--json"});
  CAPTURE(ran.err);
  CHECK(ran.status == 2);
  CHECK(contains(ran.err, "1 done, 0 skipped, 5 failed"));
  CHECK(names_in(folder / "out") == Words{"e"});
  const char* reasons[] = {"did you mean", "'x-ray'", "modality", "requests.jsonl (line 4", "", "are the same"};
  size_t at = 0;
  for (int i = 0; i < 6; ++i) {
    CAPTURE(i);
    const size_t end = ran.out.find('\n', at);
    REQUIRE(end != std::string::npos);
    const Json line = Json::parse(ran.out.substr(at, end - at), "stdout");
    at = end + 1;
    CHECK(line["status"].string() == (i == 4 ? "done" : "failed"));
    if (i == 4) continue;
    const std::string message = line["error"]["message"].string();
    CHECK(contains(message, reasons[i]));
    CHECK(contains(message, "(line " + std::to_string(i + 1)));
    CHECK(line["error"]["kind"].string() == "input");
  }
}

TEST_CASE("a modality that never carried the word is warned of, also with a bank that knows more words") {
  const TempDir folder;
  const std::string scan = write_scan(folder / "head.nii.gz");
  const Ran ran = sat_run({"segment", scan, "--prompts", "larynx,the brainstem", "--modality", "mri", "--max-ram",
                           "200M", "-o", folder / "out"});
  CHECK(contains(ran.err, "warning: 'larynx' was never labelled in mri scans during training, only in ct"));
  CHECK_FALSE(contains(ran.err, "the brainstem"));
}

TEST_CASE("a run that memory will not hold is refused with the figure before the scan's voxels are read") {
  const TempDir folder;
  const std::string scan = write_scan(folder / "head.nii.gz"), output = folder / "out";
  const Ran plan = sat_run({"plan", scan, "--prompts-count", "2", "--modality", "ct", "--json"});
  const int64_t needed = Json::parse(plan.out, "stdout")["peak_bytes"].integer();
  fs::resize_file(scan, fs::file_size(scan) / 2);  // reading the voxels would fail
  const Ran ran = sat_run(segment({scan}, output, {"--max-ram", std::to_string(needed - 1)}));
  CAPTURE(ran.err);
  CHECK(ran.status == 1);
  CHECK(contains(ran.err, "this run needs " + std::to_string(needed) + " bytes"));
  CHECK(names_in(output).empty());
}

TEST_CASE("a word that the bank lacks is an error with suggestions, before anything is written") {
  const TempDir folder;
  const std::string scan = write_scan(folder / "head.nii.gz");
  const Ran ran = sat_run({"segment", scan, "--prompts", "mandibel", "--modality", "ct", "-o", folder / "out"});
  CHECK(ran.status == 1);
  CHECK(contains(ran.err, "did you mean"));
  CHECK(contains(ran.err, "'mandible'"));
  CHECK_FALSE(fs::exists(folder / "out"));
}

TEST_CASE("an interrupted run says so and leaves nothing") {
  const TempDir folder;
  const std::string scan = write_scan(folder / "head.nii.gz"), output = folder / "out";
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const pid_t child = start(segment({scan, scan, scan, scan, scan, scan}, output, {"--save-probabilities"}),
                              folder / "stdout", folder / "stderr");
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    bool begun = false;
    while (!begun && std::chrono::steady_clock::now() < deadline) {
      begun = fs::exists(output) && !names_in(output).empty();
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    CHECK(begun);
    ::kill(child, signal);
    CHECK(wait_for(child) == 128 + signal);
    CHECK(contains(test::read_text(folder / "stderr"), "sat: interrupted"));
    for (const std::string& name : names_in(output)) CHECK(fs::exists(output + "/" + name + "/manifest.json"));
    fs::remove_all(output);
  }
}

TEST_CASE("what a killed run left is removed by the next, and a working run's folder is let alone") {
  const TempDir folder;
  const std::string scan = write_scan(folder / "head.nii.gz"), output = folder / "out";
  fs::create_directories(output + "/.sat-case-killed/masks");
  fs::create_directories(output + "/.sat-case-atwork");
  write_file_atomically(output + "/.sat-case-killed/masks/liver.nii", "half of it");
  const int lock = ::open((output + "/.sat-case-atwork").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  REQUIRE(::flock(lock, LOCK_EX | LOCK_NB) == 0);
  CHECK(sat_run(segment({scan}, output, {"--no-preview"})).status == 0);
  CHECK(names_in(output) == Words{".sat-case-atwork", "head"});
  ::close(lock);
}

TEST_CASE("model space: masks and image share the network's grid") {
  const TempDir folder;
  const std::string scan = write_scan(folder / "head.nii.gz"), output = folder / "out";
  REQUIRE(sat_run(segment({scan}, output, {"--model-space"})).status == 0);
  const Json manifest = json_file(output + "/head/manifest.json");
  const NiftiScan image = read_nifti(output + "/head/image.nii.gz");
  const NiftiHeader mask = read_nifti_header(output + "/head/masks/brainstem.nii.gz");
  const std::vector<int64_t> size = manifest["decisions"]["model_size"].integers();
  CHECK(std::equal(size.begin(), size.end(), mask.geometry.size.begin()));
  CHECK(mask.geometry.size == image.volume.geometry.size);
  CHECK(orientation_code(mask.geometry.voxel_to_world_mm) == "RAS");
  // Only the ball is above 0: 27 voxels across, and the core in its middle is bright.
  CHECK(size == std::vector<int64_t>{27, 27, 27});
  CHECK(image.volume.voxels.data<float>()[(13 * 27 + 13) * 27 + 13] == 600);
}
