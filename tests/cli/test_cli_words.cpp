// What `sat` understands: modality words, prompt files and request lines as editors write them, paths of requests, and
// folders as they are found.
#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>

#include "sat/io/files/file.h"
#include "sat/io/words/json.h"
#include "tests/support/tiny_case.h"

using namespace sat;
using namespace sat::test;

namespace {

namespace fs = std::filesystem;

std::string request(const std::string& image, const std::string& modality = "mri") {
  return "{\"image\": \"" + image + "\", \"label\": [\"prompt 0\"], \"modality\": \"" + modality +
         "\", \"dataset\": \"d\"}\n";
}

int64_t lines_in(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

}  // namespace

TEST_CASE("modality words mean the same to every command") {
  const auto planned = [](const std::string& word) {
    const TinyCase tiny;
    const Ran ran = sat_run({"plan", tiny.scan, "--modality", word, "--prompts-count", "1", "--json"});
    return ran.status == 0 ? Json::parse(ran.out, "stdout")["resampled"].dump() : ran.err;
  };
  const std::string mri = planned("mri");
  CHECK(mri != planned("ct"));
  for (const char* word : {"MR", "mr", "t1", "T1w", "flair", "dwi", "adc", "SWI"}) CHECK(planned(word) == mri);
  CHECK(contains(planned("x-ray"), "modality 'x-ray' is not known; it is one of ct, mri"));

  const std::string names = sat_run({"prompts", "list", "--modality", "mri"}).out;
  CHECK(sat_run({"prompts", "list", "--modality", "t2"}).out == names);
  CHECK(sat_run({"prompts", "list", "--modality", "adc"}).out == names);
  CHECK(sat_run({"prompts", "check", "--prompts", "hippocampus", "--modality", "t1"}).status == 0);

  const TinyCase tiny;
  write_file_atomically(tiny.folder / "r.jsonl", request("scan.nii", "T1w") + request("scan.nii", "x-ray"));
  const Ran ran = sat_run(tiny.segment({tiny.folder / "r.jsonl"}, {"--json"}));
  CHECK(ran.status == 2);
  CHECK(lines_in(ran.out) == 2);
  CHECK(contains(ran.err, "(line 2): modality 'x-ray' is not known"));
}

TEST_CASE("prompt files and request lines may begin with a byte order mark and end their lines in any way") {
  const TinyCase tiny;
  const std::string mark = "\xEF\xBB\xBF", list = tiny.folder / "list.txt", lines = tiny.folder / "r.jsonl";
  for (const std::string& text : {mark + "prompt 0\nprompt 1\n", mark + "prompt 0\r\n\r\nprompt 1\r\n",
                                  std::string("prompt 0\rprompt 1"), mark + "# two\r" + "prompt 0\rprompt 1\r"}) {
    write_file_atomically(list, text);
    const Ran ran =
        sat_run(tiny.segment({tiny.scan}, {"--prompts-file", list, "--modality", "mri", "--json", "--overwrite"}));
    CAPTURE(ran.err);
    REQUIRE(ran.status == 0);
    CHECK(Json::parse(ran.out, "stdout")["structures"].size() == 2);
  }
  write_file_atomically(list, "\xFF\xFEp\0r\0");
  CHECK(contains(sat_run({"prompts", "check", "--prompts-file", list}).err, "this text is UTF-16; save it as UTF-8"));
  std::string one = request("scan.nii");
  one.pop_back();
  for (const std::string& text : {mark + one + "\r\n" + one + "\r\n", one + "\r" + one, mark + one + "\n" + one}) {
    write_file_atomically(lines, text);
    const Ran ran = sat_run(tiny.segment({lines}, {"--json", "--overwrite"}));
    CAPTURE(ran.err);
    CHECK(ran.status == 0);
    CHECK(lines_in(ran.out) == 2);
  }
}

TEST_CASE("a name that is unknown for a character that cannot be seen says which") {
  const TinyCase tiny;
  for (const auto& [name, character] : {std::pair{"li\u200bver", "U+200B"},
                                        {"left\u00a0kidney", "U+00A0"},
                                        {"li\u00adver", "U+00AD"},
                                        {"\u202eliver", "U+202E"},
                                        {"liver\ufeff", "U+FEFF"}}) {
    const Ran ran = sat_run({"prompts", "check", "--prompts", name});
    CHECK(ran.status == 1);
    CHECK(contains(ran.out, std::string("holds an invisible character, ") + character));
  }
  const Ran bank = sat_run(tiny.segment({tiny.scan}, {"--prompts",
                                                      "prompt\u00a0"
                                                      "0",
                                                      "--modality", "mri"}));
  CHECK(contains(bank.err, "holds an invisible character, U+00A0"));
  CHECK(contains(bank.err, "did you mean 'prompt 0'"));
  CHECK_FALSE(contains(sat_run({"prompts", "check", "--prompts", "livr"}).out, "invisible"));
}

TEST_CASE("a request's image lies beside the file or is seen from the working folder, and the choice is said") {
  const TinyCase tiny;
  const std::string demo = tiny.folder / "demo";
  fs::create_directories(demo + "/demo");
  const auto segment = [&](const std::string& image) {
    write_file_atomically(demo + "/r.jsonl", request(image));
    const std::string here = tiny.folder.path();
    return sat_run(tiny.segment({demo + "/r.jsonl"}, {"--json", "--overwrite"}), [here] {
      if (::chdir(here.c_str()) != 0) ::_exit(126);
    });
  };
  const auto scan_of = [](const Ran& ran) { return Json::parse(ran.out, "stdout")["scan"].string(); };
  const Ran neither = segment("demo/a.nii");
  CHECK(neither.status == 1);
  CHECK(contains(neither.err, "neither beside the requests (" + demo + "/demo/a.nii)"));
  CHECK(contains(neither.err, "nor from the working folder (" + tiny.folder.path() + "/demo/a.nii)"));
  fs::copy_file(tiny.scan, demo + "/a.nii");
  const Ran from_here = segment("demo/a.nii");
  CAPTURE(from_here.err);
  CHECK(from_here.status == 0);
  CHECK(scan_of(from_here) == "demo/a.nii");
  CHECK_FALSE(contains(from_here.err, "warning: " + demo));
  const std::string manifest = Json::parse(from_here.out, "stdout")["folder"].string() + "/manifest.json";
  CHECK(Json::parse(test::read_text(manifest), manifest)["scan"]["path"].string() == demo + "/a.nii");
  fs::copy_file(tiny.scan, demo + "/demo/a.nii");
  const Ran both = segment("demo/a.nii");
  CHECK(both.status == 0);
  CHECK(scan_of(both) == demo + "/demo/a.nii");
  CHECK(contains(both.err, "demo/demo/a.nii is used, which lies beside the requests, and not " + demo + "/a.nii"));
}

TEST_CASE("a folder's hidden files are passed over, and a link to nowhere is a failed case with its name") {
  const TinyCase tiny;
  const std::string scans = tiny.folder / "scans";
  fs::create_directories(scans + "/deeper.nii");
  fs::copy_file(tiny.scan, scans + "/sub-01.nii");
  fs::create_symlink("../.git/annex/objects/xx/MD5E-s1--0.nii.gz", scans + "/sub-02.nii.gz");
  fs::create_symlink("sub-01.nii", scans + "/sub-03.nii");
  for (const char* name : {"._sub-01.nii", ".sub-01.nii.gz"}) write_file_atomically(scans + "/" + name, "no scan");
  const Ran ran = sat_run(tiny.segment({scans}, tiny.asked({"--json"})));
  CHECK(ran.status == 2);
  CHECK(contains(ran.err, "2 done, 0 skipped, 1 failed"));
  CHECK(contains(ran.err,
                 "sub-02.nii.gz is a link to '../.git/annex/objects/xx/MD5E-s1--0.nii.gz', which cannot be read: "
                 "no such file or folder (ENOENT); git annex get fetches it"));
  CHECK_FALSE(contains(ran.out + ran.err, "._sub"));
  CHECK(lines_in(ran.out) == 3);
}

TEST_CASE("a folder without scans says what it holds instead") {
  const TinyCase tiny;
  const std::string folder = tiny.folder / "dicom";
  const auto reason = [&] { return sat_run(tiny.segment({folder}, tiny.asked())).err; };
  fs::create_directories(folder);
  CHECK(contains(reason(), "holds no .nii or .nii.gz file; it is empty"));
  fs::create_directories(folder + "/sub-01/anat");
  CHECK(contains(reason(), "file; it holds 1 folder; sat does not look into folders below"));
  for (const char* name : {"IM0002", "IM0001"}) write_file_atomically(folder + "/" + name, "DICM");
  CHECK(
      contains(reason(), "it holds 2 other files such as 'IM0001' and 1 folder; sat does not look into folders below"));
  write_file_atomically(folder + "/IM0001", std::string(128, '\0') + "DICM");
  CHECK(contains(reason(), "; this one is a DICOM image; convert the whole series to NIfTI with dcm2niix"));
}
