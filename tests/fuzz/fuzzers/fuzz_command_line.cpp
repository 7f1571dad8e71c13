// Fuzzes the command line: an input is its words, one a line.
#include <vector>

#include "examples/sat/command_line/command_line.h"
#include "tests/fuzz/fuzz.h"

using namespace sat;
using namespace sat::test;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t count) {
  std::vector<std::string> lines{"sat"};
  std::string line;
  for (size_t i = 0; i < count; ++i) {
    const char c = char(bytes[i]);
    if (c != '\n' && c != '\0') {
      line += c;
      continue;
    }
    lines.push_back(std::move(line));
    line.clear();
  }
  std::vector<const char*> words;
  for (const std::string& word : lines) words.push_back(word.c_str());
  return try_input([&] { cli::read_command_line(int(words.size()), words.data()); });
}
