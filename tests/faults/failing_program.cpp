// `sat segment` while a call to the system fails: it ends with status 0 and the right masks, or says why and leaves
// what was there; never half of a result, never a signal, and the next run finds nothing in its way.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include "sat/io/nifti/nifti.h"
#include "tests/support/golden.h"
#include "tests/support/tiny_model.h"

using namespace sat;
using namespace sat::test;

namespace {

namespace fs = std::filesystem;
using Files = std::map<std::string, std::string>;  // contents by path

constexpr unsigned kSecondsARun = 60;
constexpr const char* kCase = "scan";

/// A model, a scan and an output folder.
struct Place {
  TempDir folder;
  std::string out = folder / "out";

  Place() {
    write_tiny_model(folder / "model.safetensors", folder / "bank.safetensors", 8);
    const Volume scan = tiny_scan({20, 17, 9});
    write_nifti(folder / "scan.nii.gz", scan.voxels, header_for(scan.geometry));
  }

  struct Ran {
    int status;  // -signal where one ended it
    std::string err;
  };
  Ran run(const std::string& prompts, const std::string& fault = "", const char* more = "--no-preview") const {
    const std::string err = folder / "err";
    const pid_t child = ::fork();
    if (child == 0) {
      ::alarm(kSecondsARun);
      const int file = ::open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
      ::dup2(file, STDOUT_FILENO);
      ::dup2(file, STDERR_FILENO);
      if (!fault.empty()) {
        ::setenv("LD_PRELOAD", SAT_FAILING_CALLS, 1);
        ::setenv("SAT_FAULT", fault.c_str(), 1);
        ::setenv("SAT_FAULT_COUNT", (folder / "count").c_str(), 1);
      }
      const std::string model = folder / "model.safetensors", bank = folder / "bank.safetensors";
      const std::string scan = folder / "scan.nii.gz";
      ::execl(SAT_PROGRAM, "sat", "segment", scan.c_str(), "--modality", "mri", "--prompts", prompts.c_str(), "--model",
              model.c_str(), "--bank", bank.c_str(), "--threads", "2", more, "-o", out.c_str(), nullptr);
      ::_exit(127);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return {WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status), read_text(err)};
  }
  /// How often the program makes a call in a run into a new folder.
  int64_t calls(const std::string& call, const std::string& prompts) {
    fs::remove_all(out);
    CHECK(run(prompts, call + ":0:EIO").status == 0);
    return std::stoll(read_text(folder / "count"));
  }

  /// Voxels and words of a case's result; the manifest has times in it.
  Files result() const {
    Files files;
    const std::string root = out + "/" + kCase;
    if (!fs::exists(root)) return files;
    for (const auto& entry : fs::recursive_directory_iterator(root)) {
      const std::string name = fs::relative(entry.path(), root).generic_string();
      if (entry.is_regular_file() && name != "manifest.json") files[name] = read_text(entry.path().string());
    }
    return files;
  }
  std::vector<std::string> left_over() const {
    std::vector<std::string> names;
    if (!fs::exists(out)) return names;
    for (const auto& entry : fs::recursive_directory_iterator(out)) {
      const std::string name = entry.path().filename().string();
      if (name.rfind(".sat-", 0) == 0) names.push_back(entry.path().string());
    }
    return names;
  }
};

/// True where every file of `part` is in `all` with the same bytes.
bool holds(const Files& all, const Files& part) {
  for (const auto& [name, bytes] : part) {
    const auto found = all.find(name);
    if (found == all.end() || found->second != bytes) return false;
  }
  return true;
}

Files masks_of(const Files& files) {
  Files masks;
  for (const auto& [name, bytes] : files) {
    if (name.rfind("masks/", 0) == 0) masks[name] = bytes;
  }
  return masks;
}

const std::string kAsked = "prompt 0,prompt 1", kEarlier = "prompt 5";

struct Fault {
  std::string call;
  std::vector<std::string> ways;
  int64_t samples = 6;  // of the calls of a run
};

/// Runs with one fault after another, into an empty folder or over an earlier result.
void check_faults(const std::vector<Fault>& faults, bool over_earlier) {
  Place place;
  REQUIRE(place.run(kAsked).status == 0);
  const Files wanted = place.result(), wanted_masks = masks_of(wanted);
  REQUIRE(wanted_masks.size() == 2);
  const std::string kept = place.folder / "kept";
  fs::remove_all(place.out);
  if (over_earlier) {
    REQUIRE(place.run(kEarlier).status == 0);
    fs::rename(place.out, kept);
  }
  for (const Fault& fault : faults) {
    const int64_t total = place.calls(fault.call, kAsked);
    const int64_t samples = std::min(fault.samples, total);
    for (const std::string& way : fault.ways) {
      for (int64_t i = 0; i < samples; ++i) {
        const std::string named = fault.call + ":" + std::to_string(1 + i * total / samples) + ":" + way;
        fs::remove_all(place.out);
        if (over_earlier) fs::copy(kept, place.out, fs::copy_options::recursive);
        const Files before = place.result();
        const Place::Ran ran = place.run(kAsked, named);
        CAPTURE(named);
        CAPTURE(ran.err);
        const Files after = place.result();
        CHECK(ran.status >= 0);
        CHECK(ran.status < 126);
        if (ran.status == 0) {
          CHECK(holds(after, wanted_masks));
        } else {
          CHECK(after == before);
          CHECK(ran.err.find("sat: ") != std::string::npos);
        }
        const Place::Ran next = place.run(kAsked);
        CAPTURE(next.err);
        CHECK(next.status == 0);
        CHECK(holds(place.result(), wanted_masks));
        CHECK(place.left_over().empty());
      }
    }
  }
}

const std::vector<Fault> kFaults = {
    {"open", {"EIO", "EMFILE", "EINTR", "EMFILE+"}},
    {"read", {"EIO", "EINTR", "SHORT", "SHORT+"}},
    {"write", {"ENOSPC", "EINTR", "SHORT", "SHORT+", "ENOSPC+"}},
    {"fsync", {"EIO"}},
    {"rename", {"ENOSPC"}},
    {"mkdir", {"ENOSPC"}},
    {"flock", {"EIO"}},
    {"unlink", {"EIO"}},
    {"chmod", {"EIO"}},
    {"opendir", {"EIO"}},
    {"stat", {"EIO"}},
    {"mmap", {"ENOMEM"}},
    {"thread", {"EAGAIN+"}},
};

}  // namespace

TEST_CASE("a call that fails leaves no half of a result behind") { check_faults(kFaults, false); }

TEST_CASE("a call that fails leaves an earlier result as it was") { check_faults(kFaults, true); }

TEST_CASE("the program says that memory ran out, whenever it does") {
  check_faults({{"malloc", {"ENOMEM", "ENOMEM+"}, 30}}, false);
}

TEST_CASE("a disk without room for probabilities is refused before the first window, with the figures") {
  const Place place;
  const Place::Ran ran = place.run("prompt 0", "statvfs:1:FULL+", "--save-probabilities");
  CHECK(ran.status > 0);
  CHECK(ran.err.find("this run needs 24480 bytes of disk (1 MiB for probabilities") != std::string::npos);
  CHECK(ran.err.find("0 bytes (0 MiB) are free") != std::string::npos);
  CHECK(ran.err.find("windows") == std::string::npos);
  CHECK(place.result().empty());
  CHECK(place.left_over().empty());
  CHECK(place.run("prompt 0", "", "--save-probabilities").status == 0);
}
