// The `sat` program as a process: closed and full streams, signals, limits, and the status at the end.
#include <doctest/doctest.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "sat/io/files/file.h"
#include "sat/io/words/json.h"
#include "sat/tensor/memory/machine.h"
#include "tests/support/tiny_case.h"

using namespace sat;
using namespace sat::test;

namespace {

namespace fs = std::filesystem;

/// Waits until the process handles SIGHUP, which this one does not: then the program has begun.
void wait_until_handled(pid_t child) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (std::chrono::steady_clock::now() < deadline) {
    std::ifstream status("/proc/" + std::to_string(child) + "/status");
    for (std::string line; std::getline(status, line);) {
      if (line.rfind("SigCgt:", 0) == 0 && (std::stoull(line.substr(7), nullptr, 16) >> (SIGHUP - 1) & 1)) return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  FAIL("the program did not begin");
}

const Words kLong{"bench", "--op", "conv3d", "--seconds", "60", "--threads", "1"};

void to_full_device() { ::dup2(::open("/dev/full", O_WRONLY | O_CLOEXEC), 1); }

}  // namespace

TEST_CASE("a run whose standard streams are closed gives the same bytes, also where features wait in a file") {
  const TinyCase tiny(12, {40, 34, 16});
  const Words prompts{"--prompts", "prompt 0,prompt 1,prompt 2,prompt 3,prompt 4,prompt 5,prompt 6,prompt 7,prompt 8",
                      "--modality", "mri"};
  Words plan{"plan", tiny.scan, "--model", tiny.model, "--json", "--threads", "1", "--device", "cpu", "--no-scratch"};
  plan.insert(plan.end(), prompts.begin(), prompts.end());
  const int64_t peak = Json::parse(sat_run(plan).out, "stdout")["peak_bytes"].integer();
  plan.erase(plan.begin() + 9);
  const Words limit{"--max-ram", std::to_string(peak - 1)};
  plan.insert(plan.end(), limit.begin(), limit.end());
  REQUIRE(Json::parse(sat_run(plan).out, "stdout")["scratch_bytes"].integer() > 0);

  const auto volumes = [&](int closed) {
    Words words = tiny.segment({tiny.scan}, {"--save-probabilities", "--overwrite"});
    words.insert(words.end(), prompts.begin(), prompts.end());
    words.insert(words.end(), limit.begin(), limit.end());
    const Ran ran = sat_run(words, [closed] {
      for (int stream = 0; stream < 3; ++stream) {
        if (closed >> stream & 1) ::close(stream);
      }
    });
    CAPTURE(closed);
    CAPTURE(ran.err);
    CHECK(ran.status == 0);
    std::string bytes;
    for (int i = 0; i < 9; ++i) {
      bytes += test::read_text(tiny.output + "/scan/probabilities/prompt " + std::to_string(i) + ".nii");
    }
    return bytes;
  };
  const std::string want = volumes(0);
  for (int closed : {1, 2, 4, 6, 7}) CHECK(volumes(closed) == want);
}

TEST_CASE("what cannot be printed ends every command with status 1 and the reason") {
  const TinyCase tiny;
  for (const Words& words :
       {Words{"plan", tiny.scan, "--model", tiny.model, "--modality", "mri", "--prompts-count", "2"},
        Words{"plan", tiny.scan, "--model", tiny.model, "--modality", "mri", "--prompts-count", "2", "--json"},
        Words{"plan", "--kernels", "--architecture", "UNET"}, Words{"inspect", tiny.model},
        Words{"inspect", tiny.model, "--json"}, Words{"prompts", "list"}, Words{"prompts", "list", "--json"},
        Words{"prompts", "check", "--prompts", "liver"}, Words{"bench", "--list"}, Words{"--help"}, Words{"--version"},
        tiny.segment({tiny.scan}, tiny.asked({"--json"}))}) {
    const Ran ran = sat_run(words, to_full_device);
    CAPTURE(words[0]);
    CHECK(ran.status == 1);
    CHECK(contains(ran.err, "sat: cannot write to standard output: no space left on the device (ENOSPC)\n"));
    const Ran closed = sat_run(words, [] { ::close(1); });
    CHECK(closed.status == 1);
    CHECK(contains(closed.err, "sat: cannot write to standard output: it is closed (EBADF)\n"));
  }
  CHECK(fs::exists(tiny.output + "/scan/manifest.json"));  // masks are worth more than their line
}

TEST_CASE("a reader that went away ends a command quietly, and stops no segmentation") {
  const TinyCase tiny;
  const auto to_nobody = [] {
    int ends[2];
    if (::pipe(ends) != 0) ::_exit(126);
    ::close(ends[0]);
    ::dup2(ends[1], 1);
  };
  const Ran list = sat_run({"prompts", "list"}, to_nobody);
  CHECK(list.status == 1);
  CHECK(list.err == "");
  const Ran ran = sat_run(tiny.segment({tiny.scan}, tiny.asked({"--json", "--quiet"})), to_nobody);
  CHECK(ran.status == 1);
  CHECK(ran.err == "");
  CHECK(fs::exists(tiny.output + "/scan/manifest.json"));
}

TEST_CASE("a limit on the size of files is an error of the case") {
  const TinyCase tiny;
  const Ran ran = sat_run(tiny.segment({tiny.scan}, tiny.asked({"--format", "nii"})), [] {
    struct rlimit limit {
      2048, 2048
    };
    ::setrlimit(RLIMIT_FSIZE, &limit);
  });
  CHECK(ran.status == 1);
  CHECK(contains(ran.err, "the file would be larger than the system allows (EFBIG)"));
  CHECK(fs::is_empty(tiny.output));
}

TEST_CASE("SIGINT, SIGTERM and SIGHUP end a command at once, each with its status") {
  const TempDir folder;
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) {
    Words words = kLong;
    words.insert(words.end(), {"--json", "-"});
    const pid_t child = start(words, folder / "out", folder / "err");
    wait_until_handled(child);
    const auto before = std::chrono::steady_clock::now();
    ::kill(child, signal);
    CHECK(wait_for(child) == 128 + signal);
    CHECK(std::chrono::steady_clock::now() - before < std::chrono::seconds(10));  // a single call would take a minute
    CHECK(test::read_text(folder / "err") == "sat: interrupted\n");
    const Json said = Json::parse(test::read_text(folder / "out"), "stdout");
    CHECK(said["error"]["kind"].string() == "interrupted");
  }
}

TEST_CASE("a signal that was ignored from the start stays ignored") {
  const TempDir folder;
  const pid_t child = start(kLong, folder / "out", folder / "err", [] { ::signal(SIGINT, SIG_IGN); });
  wait_until_handled(child);
  ::kill(child, SIGINT);
  ::kill(child, SIGTERM);
  CHECK(wait_for(child) == 128 + SIGTERM);
}

TEST_CASE("threads are by default those that the affinity mask allows, and plan tells them") {
  const TinyCase tiny;
  const Words plan{"plan", tiny.scan, "--model", tiny.model, "--modality", "mri", "--prompts-count", "2"};
  const auto one_processor = [] {
    cpu_set_t allowed, one;
    ::sched_getaffinity(0, sizeof allowed, &allowed);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++i) {
      if (CPU_ISSET(i, &allowed)) CPU_SET(i, &one);
    }
    ::sched_setaffinity(0, sizeof one, &one);
  };
  CHECK(contains(sat_run(plan, one_processor).out, "\nthreads      1\n"));
  CHECK(contains(sat_run(plan).out, "\nthreads      " + std::to_string(usable_processors()) + "\n"));
  CHECK(contains(sat_run(plan).out, "\nmemory here  " + std::to_string(memory_limit().bytes) + " bytes"));
}

TEST_CASE("a run beyond the memory of this machine is refused with the figures and where the limit comes from") {
  const MemoryLimit limit = memory_limit();
  REQUIRE(limit.bytes > 0);
  const int64_t prompts = 100 + limit.bytes / (int64_t(1) << 28);  // a bit of each for 2^31 voxels
  const TinyCase tiny(prompts);
  Geometry geometry;  // one window's worth of millimetres
  geometry.size = {2048, 1024, 1024};
  geometry.voxel_to_world_mm.m = {{{0.005, 0, 0, 0}, {0, 0.01, 0, 0}, {0, 0, 0.02, 0}, {0, 0, 0, 1}}};
  NiftiHeader header = header_for(geometry);
  header.geometry.size = {1, 1, 1};
  const std::string scan = tiny.folder / "huge.nii", list = tiny.folder / "list.txt";
  write_nifti(scan, Tensor({1, 1, 1}), header);
  std::string bytes = test::read_text(scan), names;
  for (size_t axis = 0; axis < 3; ++axis) {
    bytes[42 + 2 * axis] = char(geometry.size[axis] & 255);
    bytes[43 + 2 * axis] = char(geometry.size[axis] >> 8);
  }
  bytes[70] = 2, bytes[72] = 8;  // one byte a voxel
  write_file_atomically(scan, bytes);
  fs::resize_file(scan, 352 + uintmax_t(geometry.voxels()));  // sparse
  for (int64_t i = 0; i < prompts; ++i) names += "prompt " + std::to_string(i) + "\n";
  write_file_atomically(list, names);
  const Ran ran =
      sat_run(tiny.segment({scan}, {"--prompts-file", list, "--modality", "mri", "--no-scratch", "--json"}));
  CAPTURE(ran.err);
  CHECK(ran.status == 1);
  CHECK(contains(ran.err, "this process may have " + std::to_string(limit.bytes) + " bytes"));
  CHECK(contains(ran.err, limit.source));
  CHECK(Json::parse(ran.out, "stdout")["error"]["kind"].string() == "memory");
}

TEST_CASE("a cohort with a failed case ends with status 2, a single failed case with 1, and help has the table") {
  const TinyCase tiny;
  const std::string bad = tiny.folder / "bad.nii";
  write_file_atomically(bad, "no scan");
  CHECK(sat_run(tiny.segment({tiny.scan}, tiny.asked())).status == 0);
  CHECK(sat_run(tiny.segment({bad}, tiny.asked())).status == 1);
  CHECK(sat_run(tiny.segment({bad, tiny.scan}, tiny.asked())).status == 2);
  CHECK(sat_run({"segment", "--what"}).status == 64);
  const std::string help = sat_run({"--help"}).out;
  for (const char* line :
       {"  0    done", "  1    something failed", "  2    of several", "  64   wrong usage", "129, 130, 143"}) {
    CHECK(contains(help, line));
  }
}

TEST_CASE("a path that no manifest could name is refused before the model is read") {
  const TinyCase tiny;
  write_file_atomically(tiny.folder / "mod\xff.safetensors", "not read");
  Words words = tiny.segment({tiny.scan}, tiny.asked());
  words.insert(words.end(), {"--scratch", tiny.folder.path()});
  Words output = words, model = words;
  *(std::find(output.begin(), output.end(), "-o") + 1) = tiny.folder / "o\xff";
  *(std::find(model.begin(), model.end(), "--model") + 1) = tiny.folder / "mod\xff.safetensors";
  for (const Words& each : {output, model}) {
    const Ran ran = sat_run(each);
    CHECK(ran.status == 64);
    CHECK(contains(ran.err, "\\xff"));
    CHECK(contains(ran.err, "is not UTF-8"));
  }
  CHECK_FALSE(fs::exists(tiny.folder / "o\xff"));

  const std::string scan = tiny.folder /
                           "sc\xff"
                           "an.nii";
  fs::copy_file(tiny.scan, scan);
  const Ran ran = sat_run(tiny.segment({scan}, tiny.asked({"--json"})));
  CHECK(ran.status == 1);
  CHECK_FALSE(contains(ran.err, "reading"));
  CHECK(contains(Json::parse(ran.out, "stdout")["error"]["message"].string(), "is not UTF-8"));
}
