// Fuzzes files of features: safetensors or tables, what waits for a later run, and manifests.
#include "sat/io/features/feature_set.h"
#include "sat/io/features/feature_writer.h"
#include "tests/fuzz/fuzz.h"

using namespace sat;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t count) {
  test::try_input([&] { read_features(test::input_file("x", bytes, count)); });
  test::try_input([&] { read_manifest(test::input_file("x.json", bytes, count)); });
  return test::try_input([&] {
    const std::string waiting = test::input_file("x.npy.partial", bytes, count);
    FeatureWriter writer(waiting.substr(0, waiting.size() - 8), {}, {2}, "0");
    writer.append("a", "", from_values({2}, {1, 2}));
    test::must(writer.has("a"));
  });
}
