// Files that come with the program: the default model, its bank, and the prompt vocabulary.
// Finds them; others read them.
#pragma once

#include <string>

#include "sat/nn/run/model.h"

namespace sat::cli {

constexpr const char* kDefaultModel = "sat-small.safetensors";
constexpr const char* kDefaultBank = "sat-small-bank.safetensors";
constexpr const char* kPromptVocabulary = "vocab/sat-prompts.json";

/// The path of a shipped file: in ../share/sat of the program's folder when installed, in ../weights in a build tree.
/// Empty when it is in neither.
std::string find_shipped(const std::string& name);

/// The shipped model and bank where none are named. Throws UsageError where there are none, and for a model that comes
/// without a text side.
void complete_with_shipped(ModelOptions& options);

}  // namespace sat::cli
