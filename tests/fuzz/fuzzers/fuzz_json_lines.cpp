// Fuzzes files of requests, one in JSON a line.
#include "examples/sat/cases.h"
#include "tests/fuzz/fuzz.h"

using namespace sat;
using namespace sat::test;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t count) {
  const std::string path = input_file("requests.jsonl", bytes, count);
  return try_input([&] {
    for (const cli::Case& one : cli::collect_cases({path})) {
      must(!one.folder.empty() && one.folder.find('/') == std::string::npos && one.folder != "..");
    }
  });
}
