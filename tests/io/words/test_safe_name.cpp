// File names made from strangers' words: the claims of sat/io/words/safe_name.h.
#include "sat/io/words/safe_name.h"

#include <doctest/doctest.h>

#include <chrono>
#include <set>

#include "sat/io/words/text.h"

using namespace sat;

TEST_CASE("ordinary names and letters of all alphabets stay as they are") {
  for (const char* name : {"liver", "left kidney", "cervical vertebrae 1 (c1)", "covid-19 infection", "L\u00E4sion",
                           "\u809D\u81D3", "\u043F\u0435\u0447\u0435\u043D\u044C", "a.b", "COM10", "console"}) {
    CHECK(safe_name(name) == name);
  }
}

TEST_CASE("no name leaves its folder, hides, or means something to a file system") {
  CHECK(safe_name("../../etc/passwd") == "___.._etc_passwd");
  CHECK(safe_name("..\\..\\x") == "___.._x");
  CHECK(safe_name("/absolute") == "_absolute");
  CHECK(safe_name("c:\\nul") == "c__nul");
  CHECK(safe_name("a<b>c:d\"e|f?g*h") == "a_b_c_d_e_f_g_h");
  CHECK(safe_name("..") == "unnamed");
}

TEST_CASE("control characters and changes of direction become underscores") {
  CHECK(safe_name("a\nb\tc\x7F") == "a_b_c_");
  CHECK(safe_name(std::string("a\0b", 3)) == "a_b");
  CHECK(safe_name("a\u202Egnp.exe") == "a_gnp.exe");
  CHECK(safe_name("\u0085x\uFEFF") == "_x_");
}

TEST_CASE("names that Windows keeps for devices are marked") {
  CHECK(safe_name("con") == "_con");
  CHECK(safe_name("LPT1.nii") == "_LPT1.nii");
  CHECK(safe_name("nul .x") == "_nul .x");
  CHECK(safe_name("com\u00B9") == "_com\u00B9");
  CHECK(safe_name("contrast") == "contrast");
}

TEST_CASE("dots and spaces at the ends go, and nothing is ever empty") {
  CHECK(safe_name("  liver. . ") == "liver");
  for (const char* name : {"", " ", "...", " . . "}) CHECK(safe_name(name) == "unnamed");
  CHECK(safe_name(".hidden") == "_hidden");
}

TEST_CASE("long names are cut between characters, and stay UTF-8 even when the input was not") {
  std::string name = "x";
  for (int i = 0; i < 60; ++i) name += "\u00E9";
  const std::string cut = safe_name(name);
  CHECK(cut.size() == 99);
  CHECK(is_utf8(cut));
  CHECK(safe_name(std::string(99, 'a') + ". b").size() == 99);
  CHECK(safe_name("bad\xC3(\xFF") == "bad_(_");
  CHECK(safe_name(std::string(300, 'c')).size() == size_t(kMaxSafeNameBytes));
}

TEST_CASE("names that some file system takes for one get numbers that depend on their order alone") {
  const std::vector<std::string> names{"Liver", "liver", "a/b", "a:b", "caf\u00E9", "cafe\u0301", "LIVER", "liver-2"};
  const std::vector<std::string> safe = safe_names(names);
  CHECK(safe == std::vector<std::string>{"Liver", "liver-3", "a_b", "a_b-2", "caf\u00E9", "cafe\u0301-2", "LIVER-4",
                                         "liver-2"});
  CHECK(safe_names(names) == safe);
}

TEST_CASE("a hundred equal long names stay distinct and short") {
  const std::vector<std::string> safe = safe_names(std::vector<std::string>(100, std::string(150, 'z')));
  CHECK(std::set<std::string>(safe.begin(), safe.end()).size() == 100);
  for (const std::string& name : safe) CHECK(name.size() <= size_t(kMaxSafeNameBytes));
}

TEST_CASE("ten thousand names that become one get ten thousand numbers without trying any twice") {
  const char* kForbidden = "?*<>|:\"";
  std::vector<std::string> names;
  for (int i = 0; i < 10'000; ++i) {
    std::string name = "scan";
    for (int k = 0, rest = i; k < 6; ++k, rest /= 7) name += kForbidden[rest % 7];
    names.push_back(name);
    names.push_back(std::string(120, 'z') + std::to_string(i % 7));  // long ones, alike but for their ends
  }
  const auto start = std::chrono::steady_clock::now();
  const std::vector<std::string> safe = safe_names(names);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  CHECK(std::set<std::string>(safe.begin(), safe.end()).size() == names.size());
  CHECK(seconds.count() < 5);  // a tenth of a second; a minute where every name tries all numbers before its own
}
