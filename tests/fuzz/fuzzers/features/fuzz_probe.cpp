// Fuzzes probe files and tables of labels.
#include "sat/io/features/labels.h"
#include "sat/nn/probe/probe_file.h"
#include "tests/fuzz/fuzz.h"

using namespace sat;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t count) {
  const std::string path = test::input_file("x", bytes, count);
  test::try_input([&] {
    const ProbeFile file = read_probe(path);
    test::must(probe_probabilities(file.probe, zeros({1, file.probe.channels()})).numel() > 0);
  });
  LabelOptions options;
  options.uncertain = Uncertain::unknown;
  return test::try_input([&] {
    const Labels labels = read_labels(path, options);
    test::must(labels.states.size() == labels.images.size() * labels.names.size());
  });
}
