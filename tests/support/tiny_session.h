// A tiny model in files, with what opens and runs it.
#pragma once

#include <string>
#include <vector>

#include "sat/nn/run/session.h"
#include "tests/support/golden.h"
#include "tests/support/tiny_model.h"

namespace sat::test {

/// A tiny model's files, kept while the tests run, and what it is loaded and run with.
struct TinyFiles {
  TempDir folder;
  ModelOptions model;
  SessionOptions session;
  explicit TinyFiles(int64_t phrases = 40) {
    model.model = folder / "model.safetensors";
    model.bank = folder / "bank.safetensors";
    write_tiny_model(model.model, model.bank, phrases);
  }
  Session open() const { return Session(Model::open(model), session); }
};

/// "prompt FIRST" ... of its bank.
inline std::vector<std::string> phrases(int64_t first, int64_t last) {
  std::vector<std::string> names;
  for (int64_t i = first; i < last; ++i) names.push_back("prompt " + std::to_string(i));
  return names;
}

inline RunOptions run_options() {
  RunOptions run;
  run.modality = "mri";
  return run;
}

}  // namespace sat::test
