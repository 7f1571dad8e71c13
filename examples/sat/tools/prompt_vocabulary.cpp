// Reading the list, and judging prompts by it.
#include "examples/sat/tools/prompt_vocabulary.h"

#include <algorithm>
#include <map>

#include "examples/sat/command_line/command_line.h"
#include "examples/sat/shipped.h"
#include "examples/sat/tools/nearest.h"
#include "sat/io/files/file.h"
#include "sat/io/words/json.h"
#include "sat/io/words/modality.h"
#include "sat/io/words/text.h"

namespace sat::cli {

namespace {

constexpr int64_t kLargestList = int64_t(16) << 20;  // bytes

std::string trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t\r"), last = text.find_last_not_of(" \t\r");
  return first == std::string::npos ? "" : text.substr(first, last - first + 1);
}

/// Null when the name is unknown.
const KnownPrompt* find_prompt(const std::vector<KnownPrompt>& vocabulary, const std::string& name) {
  const auto found =
      std::lower_bound(vocabulary.begin(), vocabulary.end(), name,
                       [](const KnownPrompt& known, const std::string& asked) { return known.name < asked; });
  return found == vocabulary.end() || found->name != name ? nullptr : &*found;
}

}  // namespace

std::vector<KnownPrompt> read_prompt_vocabulary(const std::string& path) {
  const Json json = Json::parse(read_file(path, kLargestList), path);
  std::vector<KnownPrompt> vocabulary;
  for (const Json& each : json["prompts"].items()) {
    vocabulary.push_back({plain(each["name"].string()), each["modalities"].strings(), each["datasets"].integer()});
  }
  std::sort(vocabulary.begin(), vocabulary.end(),
            [](const KnownPrompt& a, const KnownPrompt& b) { return a.name < b.name; });
  return vocabulary;
}

std::vector<KnownPrompt> read_prompt_vocabulary() {
  const std::string path = find_shipped(kPromptVocabulary);
  SAT_CHECK(!path.empty(), "the prompt vocabulary ", kPromptVocabulary, " is not beside the program");
  return read_prompt_vocabulary(path);
}

std::string prompt_warning(const std::vector<KnownPrompt>& vocabulary, const std::string& prompt,
                           const std::string& modality) {
  const std::string name = plain(prompt);
  if (find_prompt(vocabulary, name)) return modality_warning(vocabulary, prompt, modality);
  std::vector<std::string> names;
  for (const KnownPrompt& known : vocabulary) names.push_back(known.name);
  const std::vector<std::string> near = nearest_names(name, names, 3);
  const std::string unseen = invisible_character(prompt);
  return quoted(prompt) + (unseen.empty() ? "" : " holds an invisible character, " + unseen + ", and") +
         " is not among the names that SAT was trained on" +
         (near.empty() ? "" : "; did you mean " + either(near) + "?");
}

std::string modality_warning(const std::vector<KnownPrompt>& vocabulary, const std::string& prompt,
                             const std::string& modality) {
  const KnownPrompt* found = find_prompt(vocabulary, plain(prompt));
  if (!found || modality.empty()) return "";
  const std::vector<std::string>& seen = found->modalities;
  const std::string asked = modality_name(modality);
  if (std::find(seen.begin(), seen.end(), asked) != seen.end()) return "";
  std::string list;
  for (const std::string& each : seen) list += (list.empty() ? "" : ", ") + each;
  return quoted(prompt) + " was never labelled in " + asked + " scans during training, only in " + list;
}

std::string modality_name(const std::string& modality) { return name_of(parse_modality(modality)); }

std::vector<std::string> split_prompts(const std::string& list) {
  std::vector<std::string> prompts;
  std::string part;
  bool in_quotes = false;
  for (char c : list + ",") {
    if (c == '"') {
      in_quotes = !in_quotes;
    } else if (c == ',' && !in_quotes) {
      prompts.push_back(trimmed(part));
      part.clear();
    } else {
      part += c;
    }
  }
  if (in_quotes) throw UsageError("the list of prompts " + quoted(list) + " has a quotation mark without its partner");
  return prompts;
}

std::vector<std::string> read_prompts_file(const std::string& path) {
  std::vector<std::string> prompts;
  for (const std::string& each : lines_of(read_file(path, kLargestList), path)) {
    const std::string line = trimmed(each);
    if (!line.empty() && line[0] != '#') prompts.push_back(line);
  }
  SAT_CHECK(!prompts.empty(), path, ": there are no prompts in this file");
  return prompts;
}

void check_prompts(const std::vector<std::string>& prompts) {
  std::map<std::string, std::string> seen;
  for (const std::string& prompt : prompts) {
    if (!is_utf8(prompt)) throw UsageError("the prompt " + quoted(prompt) + " is not UTF-8");
    if (plain(prompt).empty()) throw UsageError("there is an empty prompt in the list");
    const auto [first, fresh] = seen.emplace(plain(prompt), prompt);
    if (!fresh) throw UsageError("the prompts " + quoted(first->second) + " and " + quoted(prompt) + " are the same");
  }
}

std::vector<std::string> prompts_of(const PromptChoice& choice) {
  std::vector<std::string> prompts;
  if (!choice.list.empty()) prompts = split_prompts(choice.list);
  if (!choice.file.empty()) prompts = read_prompts_file(choice.file);
  check_prompts(prompts);
  return prompts;
}

}  // namespace sat::cli
