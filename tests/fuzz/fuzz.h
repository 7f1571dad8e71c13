// What the fuzzers share: an input as a file, and what counts as a refusal. Each fuzz_*.cpp is one program around one
// reader of what comes from outside; tests/fuzz.sh builds and runs them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "sat/tensor/error.h"
#include "sat/tensor/weights.h"
#include "tests/support/golden.h"

namespace sat::test {

/// The input as a file of this name, which is there until the next call.
inline std::string input_file(const char* name, const uint8_t* bytes, size_t count) {
  static const TempDir folder;
  std::string path = folder / name;
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (!file || std::fwrite(bytes, 1, count, file) != count || std::fclose(file) != 0) std::abort();
  return path;
}

/// Runs one input; an Error is how readers refuse, everything else is a find.
template <class Body>
int try_input(Body body) {
  try {
    body();
  } catch (const Error&) {
  }
  return 0;
}

/// Reads every tensor of a checkpoint; each may be refused by itself.
inline void read_all(const Weights& weights) {
  for (const Weights::Entry& entry : weights.entries()) {
    try_input([&] { weights.get(entry.name, entry.shape); });
  }
}

/// A claim about an input that was taken.
inline void must(bool holds) {
  if (!holds) std::abort();
}

/// Runs what must not be refused.
template <class Body>
void must_do(Body body) {
  try {
    body();
  } catch (const Error& error) {
    std::fprintf(stderr, "refused: %s\n", error.what());
    std::abort();
  }
}

}  // namespace sat::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t count);
