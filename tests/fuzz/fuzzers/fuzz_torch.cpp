// Fuzzes the reader of PyTorch files, of both kinds: the pickle, every tensor, and the file as a model.
#include "sat/io/checkpoints/torch_file.h"

#include "sat/nn/sat/model_file.h"
#include "tests/fuzz/fuzz.h"

using namespace sat;
using namespace sat::test;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t count) {
  const std::string path = input_file("model.pth", bytes, count);
  try_input([&] { read_all(read_torch_file(path).weights); });
  return try_input([&] { open_model_file(path); });
}
