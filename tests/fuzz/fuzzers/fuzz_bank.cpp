// Fuzzes banks of prompt vectors, and asks them for prompts.
#include "sat/nn/text/embedding_bank.h"
#include "tests/fuzz/fuzz.h"

using namespace sat;
using namespace sat::test;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t count) {
  const std::string path = input_file("bank.safetensors", bytes, count);
  return try_input([&] {
    const EmbeddingBank bank = read_bank(path);
    for (const std::string& phrase : bank.phrases) bank_queries(bank, {phrase}, "ct");
    bank_queries(bank, {"no such phrase"}, "mri");
  });
}
