// The names that SAT was trained on, and what can be said of a prompt without a model.
// Knows the shipped list (weights/vocab/sat-prompts.json), not embeddings.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sat::cli {

struct PromptChoice;  // command_line/command_line.h

struct KnownPrompt {
  std::string name;                     // lower case
  std::vector<std::string> modalities;  // of training scans in which it was labelled: "ct", "mri", "pet"
  int64_t datasets = 0;                 // that label it
};

/// Sorted by name.
std::vector<KnownPrompt> read_prompt_vocabulary();  // the shipped one; throws Error when it cannot be found
std::vector<KnownPrompt> read_prompt_vocabulary(const std::string& path);

/// "", or one sentence: the name is unknown (with the nearest known ones), or it never came in this modality. An empty
/// modality is not judged.
std::string prompt_warning(const std::vector<KnownPrompt>& vocabulary, const std::string& prompt,
                           const std::string& modality);

/// "", or one sentence: the name never came in this modality. An unknown name and an empty modality are not judged.
std::string modality_warning(const std::vector<KnownPrompt>& vocabulary, const std::string& prompt,
                             const std::string& modality);

/// "ct", "mri", "us", "pet" or "microscopy" for any spelling of a modality; throws Error for another word.
std::string modality_name(const std::string& modality);

/// Prompts of a comma-separated list; a part in double quotes may hold commas.
std::vector<std::string> split_prompts(const std::string& list);
/// Prompts of a text file, one a line; empty lines and lines that start with # are passed over.
std::vector<std::string> read_prompts_file(const std::string& path);

/// The prompts of --prompts or --prompts-file, checked; none when neither is given.
std::vector<std::string> prompts_of(const PromptChoice& choice);

/// Throws UsageError for a prompt that is empty, not UTF-8, or there twice (capitals and spaces aside).
void check_prompts(const std::vector<std::string>& prompts);

}  // namespace sat::cli
