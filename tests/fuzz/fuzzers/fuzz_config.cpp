// Fuzzes the JSON descriptions of models and of text encoders: what was taken says the same again.
#include "sat/io/words/json.h"
#include "sat/nn/sat/sat_config.h"
#include "sat/nn/text/text_encoder.h"
#include "tests/fuzz/fuzz.h"

using namespace sat;
using namespace sat::test;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t count) {
  return try_input([&] {
    const Json json = Json::parse({reinterpret_cast<const char*>(bytes), count}, "input");
    try_input([&] {
      const std::string once = to_json(config_from_json(json, "input")).dump();
      must_do([&] { must(to_json(config_from_json(Json::parse(once, "own words"), "own words")).dump() == once); });
    });
    const std::string once = to_json(text_config_from_json(json, "input")).dump();
    must_do([&] { must(to_json(text_config_from_json(Json::parse(once, "own words"), "own words")).dump() == once); });
  });
}
