// Fuzzes the pickle reader by itself, without the archive around it.
#include "sat/io/checkpoints/pickle.h"

#include "sat/io/checkpoints/checkpoint.h"
#include "tests/fuzz/fuzz.h"

using namespace sat;
using namespace sat::test;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t count) {
  return try_input([&] {
    const Pickle pickle = read_pickle(bytes, int64_t(count), "input", CheckpointLimits().operations());
    must(pickle.root >= 0 && size_t(pickle.root) < pickle.values.size());
    for (const std::vector<int32_t>& list : pickle.lists) {
      for (int32_t item : list) must(item >= 0 && size_t(item) < pickle.values.size());
    }
  });
}
