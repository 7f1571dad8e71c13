// Fuzzes the JSON reader: what it took, written and read again, is the same.
#include "sat/io/words/json.h"

#include "tests/fuzz/fuzz.h"

using namespace sat;
using namespace sat::test;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t count) {
  return try_input([&] {
    const std::string once = Json::parse({reinterpret_cast<const char*>(bytes), count}, "input").dump();
    must_do([&] { must(Json::parse(once, "own words").dump() == once); });
  });
}
