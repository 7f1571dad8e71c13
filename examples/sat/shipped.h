// Files that come with the program: the default model, its bank, and the prompt vocabulary.
// Finds them; others read them.
#pragma once

#include <string>

namespace sat::cli {

constexpr const char* kDefaultModel = "sat-small.safetensors";
constexpr const char* kDefaultBank = "sat-small-bank.safetensors";
constexpr const char* kPromptVocabulary = "vocab/sat-prompts.json";

/// The path of a shipped file: in ../share/sat of the program's folder when installed, in ../weights in a build tree.
/// Empty when it is in neither.
std::string find_shipped(const std::string& name);

}  // namespace sat::cli
