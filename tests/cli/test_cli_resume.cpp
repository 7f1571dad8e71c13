// A second request into the same output folder: what is computed, what stays, what is refused. On a model of a few
// thousand weights.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "sat/io/files/file.h"
#include "sat/io/nifti/nifti.h"
#include "sat/io/words/json.h"
#include "tests/support/golden.h"
#include "tests/support/program.h"
#include "tests/support/tiny_model.h"

using namespace sat;
using namespace sat::test;

namespace {

namespace fs = std::filesystem;

/// A folder with the tiny model, a scan, and requests about it.
class Desk {
 public:
  Desk() {
    write_tiny_model(folder / "model.safetensors", folder / "bank.safetensors", 12);
    write_scan("head.nii.gz");
  }

  std::string write_scan(const std::string& name, float shift = 0) const {
    Volume scan = tiny_scan({18, 17, 9});
    for (int64_t i = 0; i < scan.voxels.numel(); ++i) scan.voxels.data<float>()[i] += shift;
    const std::string path = folder / name;
    fs::create_directories(fs::path(path).parent_path());
    write_nifti(path, scan.voxels, header_for(scan.geometry));
    return path;
  }

  Words words(const Words& scans, const std::string& prompts, const Words& more = {}) const {
    Words words{"segment"};
    words.insert(words.end(), scans.begin(), scans.end());
    for (const std::string& word :
         {std::string("--modality"), std::string("mri"), std::string("--model"), folder / "model.safetensors",
          std::string("--bank"), folder / "bank.safetensors", std::string("--json"), std::string("-o"), out}) {
      words.push_back(word);
    }
    if (!prompts.empty()) words.insert(words.end(), {"--prompts", prompts});
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  Ran run(const std::string& prompts, const Words& more = {}) const {
    return sat_run(words({folder / "head.nii.gz"}, prompts, more));
  }

  /// The status that a run of one case prints, or "failed".
  std::string status(const std::string& prompts, const Words& more = {}) const {
    const Ran ran = run(prompts, more);
    CAPTURE(ran.err);
    return Json::parse(ran.out, "stdout")["status"].string();
  }

  Json manifest() const { return Json::parse(test::read_text(at("manifest.json")), "manifest"); }
  std::string at(const std::string& file) const { return out + "/head/" + file; }
  std::string mask(const std::string& prompt) const { return at("masks/" + prompt + ".nii.gz"); }

  Words structures() const {
    Words names;
    const Json statistics = Json::parse(test::read_text(at("statistics.json")), "statistics");
    for (const Json& each : statistics["structures"].items()) names.push_back(each["name"].string());
    return names;
  }

  /// Writes another mask over one that is there, as a person does who corrects it.
  std::string correct(const std::string& prompt) const {
    NiftiScan mask = read_nifti(this->mask(prompt));
    Tensor voxels(mask.volume.voxels.shape, DType::u8);
    for (int64_t i = 0; i < voxels.numel(); ++i) voxels.data<uint8_t>()[i] = i % 3 == 0;
    write_nifti(this->mask(prompt), voxels, mask.header);
    return test::read_text(this->mask(prompt));
  }

  TempDir folder;
  std::string out = folder / "out";
};

}  // namespace

TEST_CASE("masks of one scan, model and settings add up, with the bytes of a single run") {
  const Desk desk;
  REQUIRE(desk.status("prompt 3,prompt 1") == "done");
  const std::string first = test::read_text(desk.mask("prompt 3"));
  REQUIRE(desk.status("prompt 1,prompt 7") == "done");
  CHECK(desk.structures() == Words{"prompt 3", "prompt 1", "prompt 7"});
  CHECK(test::read_text(desk.mask("prompt 3")) == first);
  CHECK(desk.manifest()["request"]["prompts"].strings() == Words{"prompt 3", "prompt 1", "prompt 7"});
  CHECK(desk.manifest()["runs"].size() == 2);
  CHECK(desk.manifest()["runs"][1]["prompts"].strings() == Words{"prompt 7"});
  CHECK(desk.status("prompt 7,prompt 3") == "skipped");
  CHECK(desk.status("Prompt 7") == "skipped");

  Desk once;
  REQUIRE(once.status("prompt 3,prompt 1,prompt 7") == "done");
  for (const char* file : {"labels.nii.gz", "labels.txt", "labels.json", "statistics.json", "preview.png",
                           "masks/prompt 1.nii.gz", "masks/prompt 7.nii.gz"}) {
    CAPTURE(file);
    CHECK(test::read_text(desk.at(file)) == test::read_text(once.at(file)));
  }
}

TEST_CASE(
    "a mask that somebody corrected is neither written over nor removed, and counts in label map and statistics") {
  const Desk desk;
  REQUIRE(desk.status("prompt 0,prompt 1") == "done");
  const std::string corrected = desk.correct("prompt 1");
  const Ran more = desk.run("prompt 0,prompt 1,prompt 2");
  CHECK(more.status == 0);
  CHECK(contains(more.err, "prompt 1.nii.gz was changed since sat wrote it and stays as it is"));
  CHECK(test::read_text(desk.mask("prompt 1")) == corrected);
  CHECK(Json::parse(more.out, "stdout")["changed"].strings() == Words{"masks/prompt 1.nii.gz"});
  const Json statistics = Json::parse(test::read_text(desk.at("statistics.json")), "statistics");
  CHECK(statistics["structures"][1]["voxels"].integer() == 18 * 17 * 9 / 3);
  CHECK(statistics["structures"].size() == 3);
  // It stays protected on the next runs too, also against another setting, until --overwrite asks for it.
  CHECK(desk.status("prompt 3") == "done");
  CHECK(desk.status("prompt 1") == "skipped");
  const Ran refused = desk.run("prompt 0,prompt 1,prompt 2,prompt 3", {"--precision", "fast"});
  CHECK(refused.status != 0);
  CHECK(contains(refused.err, "--overwrite"));
  CHECK(test::read_text(desk.mask("prompt 1")) == corrected);
  CHECK(desk.status("prompt 0", {"--overwrite"}) == "done");
  CHECK(test::read_text(desk.mask("prompt 1")) == corrected);
  CHECK(desk.status("prompt 1", {"--overwrite"}) == "done");
  CHECK(test::read_text(desk.mask("prompt 1")) != corrected);
  CHECK(names_in(desk.at("masks")).size() == 4);
}

TEST_CASE("a label map that somebody edited is not replaced when masks are added") {
  const Desk desk;
  REQUIRE(desk.status("prompt 0") == "done");
  const NiftiScan labels = read_nifti(desk.at("labels.nii.gz"));
  write_nifti(desk.at("labels.nii.gz"), labels.volume.voxels, labels.header);
  const std::string edited = test::read_text(desk.at("labels.nii.gz"));
  CHECK(desk.status("prompt 0") == "skipped");
  const Ran ran = desk.run("prompt 1");
  CHECK(ran.status != 0);
  CHECK(contains(ran.err, "labels.nii.gz was changed since sat wrote it"));
  CHECK(test::read_text(desk.at("labels.nii.gz")) == edited);
  CHECK(names_in(desk.out) == Words{"head"});
}

TEST_CASE("masks that were not asked for are not lost to other settings, another model or another scan") {
  const Desk desk;
  REQUIRE(desk.status("prompt 0,prompt 1") == "done");
  const std::string before = test::read_text(desk.mask("prompt 1"));
  const Ran fast = desk.run("prompt 0", {"--precision", "fast"});
  CHECK(fast.status != 0);
  CHECK(contains(fast.err, "'prompt 1' that would be lost, for it was made with another precision: exact, now fast"));
  CHECK(test::read_text(desk.mask("prompt 1")) == before);
  desk.write_scan("head.nii.gz", 5);
  CHECK(contains(desk.run("prompt 0").err, "that would be lost, for the scan has changed"));
  CHECK(test::read_text(desk.mask("prompt 1")) == before);
  const Ran again = desk.run("prompt 1,prompt 0");
  CHECK(contains(again.err, "done again: the scan has changed"));
  CHECK(desk.status("prompt 0", {"--precision", "fast", "--overwrite"}) == "done");
  CHECK(desk.structures() == Words{"prompt 0"});
}

TEST_CASE("another precision or a verification is another question") {
  const Desk desk;
  REQUIRE(desk.status("prompt 0", {"--precision", "fast"}) == "done");
  CHECK(desk.status("prompt 0") == "done");
  CHECK(desk.manifest()["decisions"]["precision"].string() == "exact");
  CHECK(desk.status("prompt 0", {"--verify"}) == "done");
  CHECK(desk.manifest()["runs"][1].find("verification") != nullptr);
  CHECK(desk.status("prompt 0", {"--verify"}) == "skipped");
  CHECK(desk.status("prompt 0") == "skipped");
  CHECK(desk.status("prompt 0", {"--save-probabilities"}) == "done");
  CHECK(fs::exists(desk.at("probabilities/prompt 0.nii")));
  CHECK(desk.status("prompt 1") == "done");
  CHECK(fs::exists(desk.at("probabilities/prompt 0.nii")));
  CHECK_FALSE(fs::exists(desk.at("probabilities/prompt 1.nii")));
}

TEST_CASE("other voxels of the same size and date are another scan, also in the image of a pair") {
  const Desk desk;
  const std::string scan = desk.folder / "head.nii";
  fs::remove(desk.folder / "head.nii.gz");
  desk.write_scan("head.nii");
  const auto status = [&](const std::string& path) {
    const Ran ran = sat_run(desk.words({path}, "prompt 0"));
    CAPTURE(ran.err);
    return Json::parse(ran.out, "stdout")["status"].string();
  };
  REQUIRE(status(scan) == "done");
  const auto size = fs::file_size(scan);
  const auto date = fs::last_write_time(scan);
  desk.write_scan("head.nii", 3);
  REQUIRE(fs::file_size(scan) == size);
  fs::last_write_time(scan, date);
  CHECK(status(scan) == "done");
  CHECK(status(scan) == "skipped");

  // The same bytes as a pair: the header apart from the voxels.
  std::string bytes = test::read_text(scan);
  bytes.replace(344, 4, std::string("ni1\0", 4));
  bytes.replace(108, 4, std::string(4, '\0'));
  const std::string header = desk.folder / "pair.hdr", image = desk.folder / "pair.img";
  write_file_atomically(header, bytes.substr(0, 348));
  write_file_atomically(image, bytes.substr(352));
  CHECK(status(header) == "done");
  CHECK(status(header) == "skipped");
  std::string voxels = bytes.substr(352);
  std::reverse(voxels.begin(), voxels.end());
  for (size_t i = 0; i + 3 < voxels.size(); i += 4)
    std::reverse(voxels.begin() + int64_t(i), voxels.begin() + int64_t(i) + 4);
  write_file_atomically(image, voxels);
  CHECK(status(header) == "done");
  CHECK(status(image) == "skipped");
}

TEST_CASE("one scan's masks never come into a folder that is another's, whatever the list and its order") {
  const Desk desk;
  const std::string a = desk.write_scan("a/ct.nii.gz", 1), b = desk.write_scan("b/ct.nii.gz", 2);
  const auto folders = [&](const Words& scans) {
    Words lines;
    const Ran ran = sat_run(desk.words(scans, "prompt 0", {"--no-preview"}));
    CAPTURE(ran.err);
    REQUIRE(ran.status == 0);
    for (size_t at = 0; at < ran.out.size();) {
      const size_t end = ran.out.find('\n', at);
      const Json line = Json::parse(ran.out.substr(at, end - at), "stdout");
      lines.push_back(line["scan"].string() + " " + line["case"].string() + " " + line["status"].string());
      at = end + 1;
    }
    return lines;
  };
  REQUIRE(folders({a}) == Words{a + " ct done"});
  const Words both = folders({a, b});
  CHECK(both[0] == a + " ct skipped");
  const std::string name = both[1].substr(b.size() + 1, both[1].rfind(' ') - b.size() - 1);
  CHECK(name.rfind("ct-", 0) == 0);
  CHECK(folders({b, a}) == Words{b + " " + name + " skipped", a + " ct skipped"});
  CHECK(folders({b}) == Words{b + " " + name + " skipped"});
  CHECK(folders({a}) == Words{a + " ct skipped"});

  // A scan that was moved keeps its folder.
  fs::create_directories(desk.folder / "c");
  fs::rename(a, desk.folder / "c/ct.nii.gz");
  CHECK(folders({desk.folder / "c/ct.nii.gz"}) == Words{(desk.folder / "c/ct.nii.gz") + " ct skipped"});
}

TEST_CASE("two requests about one scan in a run add up, and contradictory ones do not replace each other") {
  const Desk desk;
  const std::string lines = desk.folder / "requests.jsonl";
  const auto line = [](const char* prompt, const char* modality) {
    return std::string("{\"image\": \"head.nii.gz\", \"label\": [\"") + prompt + "\"], \"modality\": \"" + modality +
           "\", \"dataset\": \"d\"}\n";
  };
  write_file_atomically(lines, line("prompt 0", "mri") + line("prompt 1", "mri"));
  Words words{
      "segment", lines,   "--model", desk.folder / "model.safetensors", "--bank", desk.folder / "bank.safetensors",
      "-o",      desk.out};
  CHECK(sat_run(words).status == 0);
  CHECK(names_in(desk.out + "/d-head/masks") == Words{"prompt 0.nii.gz", "prompt 1.nii.gz"});
  write_file_atomically(lines, line("prompt 1", "mri") + line("prompt 0", "mri"));
  CHECK(contains(sat_run(words).err, "0 done, 2 skipped, 0 failed"));

  write_file_atomically(lines, line("prompt 0", "mri") + line("prompt 0", "ct"));
  words.back() = desk.folder / "other";
  const Ran ran = sat_run(words);
  CHECK(ran.status != 0);
  CHECK(contains(ran.err, "this run has already written"));
  CHECK(contains(ran.err, "another modality: mri, now ct"));
}

TEST_CASE("files that are missing are made again, damaged ones are noticed, and --check reads them all") {
  const Desk desk;
  REQUIRE(desk.status("prompt 0,prompt 1") == "done");
  const std::string mask = test::read_text(desk.mask("prompt 0"));
  fs::remove(desk.mask("prompt 0"));
  CHECK(desk.status("prompt 0,prompt 1") == "done");
  CHECK(test::read_text(desk.mask("prompt 0")) == mask);
  fs::remove(desk.at("labels.txt"));
  CHECK(desk.status("prompt 0,prompt 1") == "done");
  CHECK(fs::exists(desk.at("labels.txt")));

  fs::resize_file(desk.mask("prompt 0"), 0);
  const Ran cut = desk.run("prompt 0,prompt 1");
  CHECK(cut.status != 0);
  CHECK(contains(cut.err, "not as sat wrote it"));
  CHECK(desk.status("prompt 0,prompt 1", {"--overwrite"}) == "done");

  std::string damaged = test::read_text(desk.mask("prompt 0"));
  damaged[damaged.size() / 2] = char(damaged[damaged.size() / 2] ^ 1);
  write_file_atomically(desk.mask("prompt 0"), damaged);
  CHECK(desk.status("prompt 0") == "skipped");  // its size is right
  const Ran checked = desk.run("prompt 0", {"--check"});
  CHECK(checked.status != 0);
  CHECK(contains(checked.err, "not as sat wrote it"));
  CHECK(desk.status("prompt 0", {"--overwrite"}) == "done");
  CHECK(desk.status("prompt 0", {"--check"}) == "skipped");
}

TEST_CASE("a result of a version that recorded no hashes is not replaced unasked") {
  const Desk desk;
  REQUIRE(desk.status("prompt 0") == "done");
  Json manifest = desk.manifest(), files = Json::array();
  for (const Json::Member& file : manifest["files"].members()) files.push(file.first);
  manifest.set("format", "sat-manifest-1").set("files", std::move(files));
  write_file_atomically(desk.at("manifest.json"), manifest.dump());
  const Ran ran = desk.run("prompt 0");
  CHECK(ran.status != 0);
  CHECK(contains(ran.err, "made by an earlier version of sat"));
  CHECK(desk.status("prompt 0", {"--overwrite"}) == "done");
  CHECK(desk.status("prompt 0") == "skipped");
}

TEST_CASE("what is made in a folder shared by a group carries its group and its set-gid bit") {
  const Desk desk;
  fs::create_directories(desk.out);
  REQUIRE(::chmod(desk.out.c_str(), 02775) == 0);
  const mode_t before = ::umask(002);
  const std::string status = desk.status("prompt 0");
  ::umask(before);
  REQUIRE(status == "done");
  for (const std::string& folder : {desk.out + "/head", desk.at("masks")}) {
    CAPTURE(folder);
    struct stat found {};
    REQUIRE(::stat(folder.c_str(), &found) == 0);
    CHECK((found.st_mode & 07777) == 02775);
  }
  struct stat mask {};
  REQUIRE(::stat(desk.mask("prompt 0").c_str(), &mask) == 0);
  CHECK((mask.st_mode & 0777) == 0664);
}

TEST_CASE("a mask in a folder of scans is warned of by its name, and refused by a strict run, first or later") {
  Desk desk;
  const std::string scans = desk.folder / "scans";
  desk.write_scan("scans/head.nii.gz");
  desk.write_scan("scans/head_seg.nii.gz");
  const Ran ran = sat_run(desk.words({scans}, "prompt 0"));
  CHECK(ran.status == 0);
  CHECK(
      contains(ran.err, "head_seg: warning: by its name this file of the folder is a mask or a label map, not a scan"));
  CHECK(contains(ran.out, "by its name this file"));
  const Ran later = sat_run(desk.words({scans}, "prompt 0", {"--strict"}));
  CHECK(later.status == 2);
  CHECK(contains(later.err, "finished before, but refused now, as the run is strict: by its name"));
  CHECK(contains(later.err, "0 done, 1 skipped, 1 failed"));
  desk.out = desk.folder / "other";
  const Ran fresh = sat_run(desk.words({scans}, "prompt 0", {"--strict"}));
  CHECK(contains(fresh.err, "refused, as the run is strict: by its name"));
}
