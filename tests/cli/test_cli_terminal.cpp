// The `sat` program on a terminal: progress that fits its width, plain lines where nothing can be redrawn, and names
// from strangers that reach no terminal as they are.
#include <doctest/doctest.h>
#include <pty.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "sat/io/checkpoints/safetensors.h"
#include "sat/io/files/file.h"
#include "sat/io/words/text.h"
#include "tests/support/tiny_case.h"

using namespace sat;
using namespace sat::test;

namespace {

/// What the program writes to a terminal of this width and kind.
std::string shown_on_terminal(const Words& words, int columns, const char* kind) {
  struct winsize size {};
  size.ws_row = 24;
  size.ws_col = static_cast<unsigned short>(columns);
  int terminal = -1;
  const pid_t child = ::forkpty(&terminal, nullptr, nullptr, &size);
  REQUIRE(child >= 0);
  if (child == 0) {
    if (kind) {
      ::setenv("TERM", kind, 1);
    } else {
      ::unsetenv("TERM");
    }
    become(words);
  }
  std::string shown;
  char bytes[4096];
  for (;;) {
    const ssize_t got = ::read(terminal, bytes, sizeof bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;  // EIO once the program has closed its side
    shown.append(bytes, size_t(got));
  }
  ::close(terminal);
  CHECK(wait_for(child) == 0);
  return shown;
}

/// The texts that were drawn to be drawn over again.
Words redrawn(const std::string& shown) {
  const std::string again = "\r\x1b[K";
  Words drawn;
  for (size_t at = shown.find(again); at != std::string::npos;) {
    const size_t start = at + again.size(), next = shown.find(again, start);
    if (next != std::string::npos) drawn.push_back(shown.substr(start, next - start));
    at = next;
  }
  return drawn;
}

/// Of text in which every character takes one column.
int characters(const std::string& text) {
  int count = 0;
  for (size_t at = 0; at < text.size(); at += size_t(std::max(utf8_length(std::string_view(text).substr(at)), 1)))
    ++count;
  return count;
}

int64_t hostile_bytes(const std::string& text) {
  int64_t count = 0;
  for (char c : text) count += (uint8_t(c) < 0x20 && c != '\n') || c == 0x7F;
  for (const char* mark : {"\u009b", "\u202e", "\u2066", "\u2028", "\u200b"}) count += contains(text, mark);
  return count;
}

const std::string kHostile = "\x1b]0;pwned\x07\u009b31m\u202e\u2066\u2028\u200bx\ny";

}  // namespace

TEST_CASE("a progress line is never wider than the terminal") {
  const TinyCase tiny;
  const std::string name = "sub-\u00fcber01_ses-20240101_acq-highres_rec-norm_run-01_space-T1w_desc-preproc_T1w.nii";
  const std::string scan = tiny.folder / name;
  std::filesystem::rename(tiny.scan, scan);
  for (int columns : {200, 80, 40, 20, 5}) {
    CAPTURE(columns);
    const Words words = tiny.segment({scan}, tiny.asked({"--overwrite"}));
    const Words drawn = redrawn(shown_on_terminal(words, columns, "xterm"));
    bool bar = false;
    int widest = 0;
    for (const std::string& line : drawn) {
      CHECK_FALSE(contains(line, "\n"));
      widest = std::max(widest, characters(line));
      bar = bar || contains(line, "[#") || contains(line, "[.");
    }
    CHECK(drawn.size() >= 3);
    CHECK(widest < columns);
    if (columns != 40) CHECK(bar == (columns > 40));  // there it depends on how long the state is
    if (columns == 80) CHECK(contains(drawn.back(), "..."));
  }
}

TEST_CASE("where a line cannot be drawn again there are plain lines") {
  const TinyCase tiny;
  for (const char* kind : {static_cast<const char*>("dumb"), static_cast<const char*>(nullptr)}) {
    const std::string shown = shown_on_terminal(tiny.segment({tiny.scan}, tiny.asked({"--overwrite"})), 80, kind);
    CHECK_FALSE(contains(shown, "\x1b"));
    CHECK(contains(shown, "scan: reading\r\n"));
    CHECK(contains(shown, " windows, 100 %\r\n"));
  }
}

TEST_CASE("names from files, paths and prompts reach no terminal as they are") {
  const TinyCase tiny;
  const std::string odd = tiny.folder / "odd.safetensors";
  Tensor one({1});
  one.data<float>()[0] = 1;
  write_safetensors(odd, {{kHostile + "w", one}}, {{"format", kHostile}, {"identity", kHostile}, {"config", kHostile}});
  std::string bytes = test::read_text(tiny.model);
  const std::string known = "\\\"architecture\\\":\\\"tiny\\\"";
  REQUIRE(contains(bytes, known));
  bytes.replace(bytes.find(known), known.size(), "\\\"architecture\\\":\\\"\u009b\u202e\\\"");
  const std::string painted = tiny.folder / "painted.safetensors";
  write_file_atomically(painted, bytes);
  write_file_atomically(tiny.folder / "prompts.txt", "\u009b31m\u202eliver\n");
  const std::string strange = tiny.folder / ("no\x1b[31m"
                                             "\u202e"
                                             "scan.nii");
  write_file_atomically(strange, "no scan");
  for (const Words& words :
       {Words{"inspect", odd}, Words{"inspect", odd, "--all"}, Words{"inspect", odd, "--json", "--all"},
        Words{"inspect", painted}, Words{"inspect", tiny.folder / kHostile},
        Words{"plan", tiny.folder / kHostile, "--modality", "ct", "--prompts-count", "1"},
        Words{"plan", tiny.scan, "--modality", kHostile, "--prompts-count", "1"},
        Words{"plan", tiny.scan, "--model", painted, "--modality", "ct", "--prompts-count", "1"},
        Words{"prompts", "check", "--prompts-file", tiny.folder / "prompts.txt"}, Words{"prompts", "search", kHostile},
        Words{kHostile}, Words{"segment", "--" + kHostile},
        Words{"convert", odd, tiny.folder / (kHostile + ".safetensors")}, Words{"bench", "--op", kHostile},
        tiny.segment({strange, tiny.scan}, tiny.asked()),
        tiny.segment({tiny.scan}, {"--prompts", kHostile, "--modality", "mri"}),
        tiny.segment({tiny.folder / kHostile}, tiny.asked())}) {
    const Ran ran = sat_run(words);
    CAPTURE(ran.out);
    CAPTURE(ran.err);
    CHECK(hostile_bytes(ran.err) == 0);
    const bool json = std::find(words.begin(), words.end(), "--json") != words.end();
    if (!json) CHECK(hostile_bytes(ran.out) == 0);
    if (json) CHECK_FALSE(contains(ran.out, "\x1b"));
  }
}
