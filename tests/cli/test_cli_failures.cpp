// `sat ... --json` when something fails: one object that says what, and nothing else on stdout.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <string>

#include "sat/io/files/file.h"
#include "sat/io/words/json.h"
#include "tests/support/tiny_case.h"

using namespace sat;
using namespace sat::test;

namespace {

/// The error of a run that must have failed: the only line, or the last one, of its stdout.
Json error_of(const Ran& ran) {
  CAPTURE(ran.out);
  CAPTURE(ran.err);
  CHECK(ran.status != 0);
  REQUIRE(std::count(ran.out.begin(), ran.out.end(), '\n') == 1);
  const Json error = Json::parse(ran.out, "stdout")["error"];
  CHECK(contains(ran.err, error["message"].string()));
  CHECK(error.members().size() == 3);
  return error;
}

}  // namespace

TEST_CASE("every way to fail prints one JSON object with its kind, message and file") {
  const TinyCase tiny;
  const std::string junk = tiny.folder / "junk.bin", gone = tiny.folder / "gone.nii";
  write_file_atomically(junk, "neither a scan nor a checkpoint");
  Words below_a_file = tiny.segment({tiny.scan}, tiny.asked({"--json"}));
  *(std::find(below_a_file.begin(), below_a_file.end(), "-o") + 1) = junk + "/out";
  Words no_device = tiny.segment({tiny.scan}, tiny.asked({"--json"}));
  *std::find(no_device.begin(), no_device.end(), "cpu") = "cuda:99";
  const struct {
    Words words;
    const char* kind;
    std::string file;
  } uses[] = {{{"segmnt", "--json"}, "usage", ""},
              {{"segment", "--json"}, "usage", ""},
              {{"plan", tiny.scan, "--json", "--modality", "x-ray", "--prompts-count", "1"}, "usage", ""},
              {{"plan", tiny.scan, "--modality", "ct", "--json"}, "usage", ""},
              {{"plan", gone, "--modality", "ct", "--prompts-count", "1", "--json"}, "input", gone},
              {{"plan", junk, "--modality", "ct", "--prompts-count", "1", "--json"}, "input", junk},
              {{"plan", tiny.scan, "--modality", "ct", "--prompts-count", "1", "--max-ram", "100M", "--architecture",
                "UNET", "--json"},
               "memory",
               ""},
              {{"inspect", junk, "--json"}, "input", junk},
              {{"inspect", "--json", tiny.folder / "none"}, "input", tiny.folder / "none"},
              {{"prompts", "search", "qqqqq", "--json"}, "input", ""},
              {{"bench", "--op", "nothing", "--json", "-"}, "usage", ""},
              {tiny.segment({tiny.scan}, {"--json"}), "usage", ""},
              {tiny.segment({tiny.scan}, {"--json", "--prompts", "no such", "--modality", "mri"}), "input", tiny.bank},
              {no_device, "device", ""},
              {below_a_file, "output", junk + "/out"}};
  for (const auto& use : uses) {
    CAPTURE(use.words);
    const Json error = error_of(sat_run(use.words));
    CHECK(error["kind"].string() == use.kind);
    CHECK((use.file.empty() ? error["file"].is_null() : error["file"].string() == use.file));
  }
}

TEST_CASE("a failed case has the same error object in its line") {
  const TinyCase tiny;
  const std::string bad = tiny.folder / "bad.nii";
  write_file_atomically(bad, "no scan");
  const Ran ran = sat_run(tiny.segment({bad}, tiny.asked({"--json"})));
  const Json error = error_of(ran);
  CHECK(error["kind"].string() == "input");
  CHECK(error["file"].string() == bad);
  CHECK(Json::parse(ran.out, "stdout")["status"].string() == "failed");
}

TEST_CASE("a damaged model's report holds the error beside what is known of it") {
  const TinyCase tiny;
  std::string bytes = test::read_text(tiny.model);
  const std::string lost = "transformer_decoder.norm.bias";
  bytes.replace(bytes.find(lost) + lost.size() - 4, 4, "bios");
  write_file_atomically(tiny.folder / "damaged.safetensors", bytes);
  const Ran ran = sat_run({"inspect", tiny.folder / "damaged.safetensors", "--json"});
  CHECK(ran.status == 1);
  const Json report = Json::parse(ran.out, "stdout");
  CHECK(report["error"]["kind"].string() == "input");
  CHECK(report["error"]["file"].string() == tiny.folder / "damaged.safetensors");
  CHECK(report["problem"].string() == report["error"]["message"].string());
}
