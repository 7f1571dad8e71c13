// Forty runs are killed, each a little later than the one before: the earlier result or the new one is always there,
// whole, and the next run leaves nothing of the killed ones.
#include <doctest/doctest.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <string>
#include <thread>

#include "sat/io/files/hash.h"
#include "sat/io/words/json.h"
#include "tests/support/program.h"
#include "tests/support/tiny_case.h"

using namespace sat;
using namespace sat::test;

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

/// "" or what is wrong with a finished case: every file of its manifest is there with its hash.
std::string complaint(const std::string& folder) {
  const Json manifest = Json::parse(test::read_text(folder + "/manifest.json"), "manifest");
  for (const auto& [name, file] : manifest["files"].members()) {
    if (!fs::exists(folder + "/" + name)) return name + " is missing";
    if (sha256_of_file(folder + "/" + name) != file["sha256"].string()) return name + " has other bytes";
  }
  return "";
}

}  // namespace

TEST_CASE("a run that is killed at any moment leaves the earlier result or the new one whole") {
  constexpr int kKills = 40;
  const TinyCase tiny;
  const std::string result = tiny.output + "/scan";
  const auto request = [&](int round) {
    return tiny.segment({tiny.scan},
                        tiny.asked({"--quiet", "--overwrite", "--precision", round % 2 ? "fast" : "exact"}));
  };
  const auto before = Clock::now();
  REQUIRE(sat_run(request(0)).status == 0);
  const auto whole = Clock::now() - before;
  int killed = 0;
  for (int round = 1; round <= kKills; ++round) {
    CAPTURE(round);
    const pid_t child = start(request(round), tiny.folder / "stdout", tiny.folder / "stderr");
    std::this_thread::sleep_for(whole * round / kKills);
    ::kill(child, SIGKILL);
    killed += wait_for(child) != 0;
    REQUIRE(fs::exists(result + "/manifest.json"));
    CHECK(complaint(result) == "");
  }
  CHECK(killed > 0);
  const Ran last = sat_run(request(0));
  CAPTURE(last.err);
  REQUIRE(last.status == 0);
  CHECK(complaint(result) == "");
  for (const auto& entry : fs::recursive_directory_iterator(tiny.output)) {
    CHECK_FALSE(contains(entry.path().filename().string(), ".sat-"));
  }
}

TEST_CASE("a result that a killed run had moved aside is put back by the next run, whatever scan that is about") {
  const TinyCase tiny;
  REQUIRE(sat_run(tiny.segment({tiny.scan}, tiny.asked({"--quiet"}))).status == 0);
  // As a run leaves it that dies between two renames, on a file system that cannot exchange names.
  fs::rename(tiny.output + "/scan", tiny.output + "/.sat-old-scan");
  const std::string other = tiny.folder / "other.nii";
  fs::copy_file(tiny.scan, other);
  REQUIRE(sat_run(tiny.segment({other}, tiny.asked({"--quiet"}))).status == 0);
  CHECK(complaint(tiny.output + "/scan") == "");
  CHECK_FALSE(fs::exists(tiny.output + "/.sat-old-scan"));
}

TEST_CASE("temporary files of a killed convert are removed by the next one") {
  const TinyCase tiny;
  const std::string folder = tiny.folder / "converted";
  fs::create_directories(folder);
  const std::string left = folder + "/.sat-0123456789abcdef.tmp", mine = folder + "/.sat-notes.tmp";
  for (const std::string& path : {left, mine}) fs::copy_file(tiny.scan, path);
  REQUIRE(sat_run({"convert", tiny.model, folder + "/model.safetensors"}).status == 0);
  CHECK_FALSE(fs::exists(left));
  CHECK(fs::exists(mine));
  CHECK(fs::exists(folder + "/model.safetensors"));
}
