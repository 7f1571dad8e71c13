// Fuzzes prompts, in a file and as a list of the command line.
#include "examples/sat/tools/prompt_vocabulary.h"
#include "sat/io/words/safe_name.h"
#include "tests/fuzz/fuzz.h"

using namespace sat;
using namespace sat::test;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t count) {
  const std::string path = input_file("prompts.txt", bytes, count);
  const auto named = [](const std::vector<std::string>& prompts) {
    cli::check_prompts(prompts);
    must(safe_names(prompts).size() == prompts.size());
  };
  try_input([&] { named(cli::read_prompts_file(path)); });
  return try_input([&] { named(cli::split_prompts({reinterpret_cast<const char*>(bytes), count})); });
}
