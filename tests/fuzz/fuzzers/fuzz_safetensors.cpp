// Fuzzes the safetensors reader: header, every tensor, and the file as a model.
#include "sat/io/checkpoints/safetensors.h"

#include "sat/nn/sat/model_file.h"
#include "tests/fuzz/fuzz.h"

using namespace sat;
using namespace sat::test;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t count) {
  const std::string path = input_file("model.safetensors", bytes, count);
  try_input([&] { read_all(read_safetensors(path).weights); });
  return try_input([&] { open_model_file(path); });
}
