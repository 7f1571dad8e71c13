// Fuzzes .npy files, alone and as features of images.
#include "sat/io/arrays/npy.h"

#include "sat/io/features/feature_set.h"
#include "tests/fuzz/fuzz.h"

using namespace sat;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t count) {
  const std::string path = test::input_file("x.npy", bytes, count);
  test::try_input([&] { sat::read_npy(path); });
  return test::try_input([&] { read_features(path); });
}
