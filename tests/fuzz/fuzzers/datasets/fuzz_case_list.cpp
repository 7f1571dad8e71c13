// Fuzzes lists of cases: the input is labels.json of a folder that holds the names of two scans and a label map, and
// then SAT's records.
#include <cstdio>

#include "sat/io/datasets/labelled_case.h"
#include "tests/fuzz/fuzz.h"

using namespace sat;
using namespace sat::test;

namespace {

void look_at(const std::string& path) {
  DatasetOptions options;
  options.on_problem = [](const CaseProblem& problem) { must(!problem.reason.empty()); };
  const LabelledData data = read_dataset(path, options);
  for (const auto* cases : {&data.train, &data.validation}) {
    for (const LabelledCase& one : *cases) {
      must(!one.id.empty() && !one.image.empty() && !one.modality.empty());
      for (const StructureSource& source : one.structures) must(!source.name.empty() && source.name != "none");
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t count) {
  input_file("a_ct.nii.gz", bytes, 0);
  input_file("a_label.nii.gz", bytes, 0);
  input_file("b_ct.nii.gz", bytes, 0);
  const std::string labels = input_file("labels.json", bytes, count);
  try_input([&] { look_at(labels); });
  const std::string records = input_file("records.jsonl", bytes, count);
  return try_input([&] { look_at(records); });
}
