// sat prompts: the names that SAT was trained on.
#include <algorithm>
#include <cstdio>

#include "examples/sat/command.h"
#include "examples/sat/nearest.h"
#include "examples/sat/prompt_vocabulary.h"
#include "sat/io/json.h"
#include "sat/nn/text_encoder.h"

namespace sat::cli {

namespace {

constexpr size_t kMostFound = 25;

void print(const std::vector<KnownPrompt>& found, bool as_json) {
  if (as_json) {
    Json list = Json::array();
    for (const KnownPrompt& known : found) {
      Json modalities = Json::array();
      for (const std::string& modality : known.modalities) modalities.push(modality);
      list.push(Json::object().set("name", known.name).set("modalities", modalities).set("datasets", known.datasets));
    }
    std::printf("%s\n", list.dump(2).c_str());
    return;
  }
  size_t width = 0;
  for (const KnownPrompt& known : found) width = std::max(width, known.name.size());
  for (const KnownPrompt& known : found) {
    std::string modalities;
    for (const std::string& modality : known.modalities) modalities += (modalities.empty() ? "" : ", ") + modality;
    std::printf("%-*s  %s\n", int(width), known.name.c_str(), modalities.c_str());
  }
}

std::vector<KnownPrompt> of_modality(const std::vector<KnownPrompt>& vocabulary, const std::string& modality) {
  if (modality.empty()) return vocabulary;
  constexpr const char* kNames[] = {"ct", "mri", "us", "pet", "microscopy"};
  const std::string asked = kNames[modality_code(modality)];
  std::vector<KnownPrompt> found;
  for (const KnownPrompt& known : vocabulary) {
    const std::vector<std::string>& seen = known.modalities;
    if (std::find(seen.begin(), seen.end(), asked) != seen.end()) found.push_back(known);
  }
  return found;
}

/// Names that contain all the words come first, then those that are alike.
std::vector<KnownPrompt> search(const std::vector<KnownPrompt>& vocabulary, const std::vector<std::string>& words) {
  std::string sought;
  for (const std::string& word : words) sought += " " + word;
  std::vector<std::pair<double, KnownPrompt>> found;
  for (const KnownPrompt& known : vocabulary) {
    const bool has_all = std::all_of(words.begin(), words.end(), [&](const std::string& word) {
      return known.name.find(plain(word)) != std::string::npos;
    });
    const double score = likeness(plain(sought), known.name) + (has_all ? 1 : 0);
    if (score >= 0.55) found.emplace_back(score, known);
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<KnownPrompt> best;
  for (size_t i = 0; i < std::min(found.size(), kMostFound); ++i) best.push_back(found[i].second);
  return best;
}

int check(const std::vector<KnownPrompt>& vocabulary, const Arguments& arguments) {
  std::vector<std::string> prompts = prompts_of(arguments);
  if (prompts.empty()) throw UsageError("prompts check needs --prompts or --prompts-file");
  int questionable = 0;
  for (const std::string& prompt : prompts) {
    const std::string warning = prompt_warning(vocabulary, prompt, arguments.value("--modality"));
    if (!warning.empty()) ++questionable;
    std::printf("%s\n", warning.empty() ? ("ok: " + prompt).c_str() : warning.c_str());
  }
  return questionable > 0 ? 1 : 0;
}

int run(const Arguments& arguments) {
  const std::vector<std::string>& words = arguments.words();
  if (words.empty()) throw UsageError("prompts needs a word: list, search or check");
  const std::vector<KnownPrompt> vocabulary = read_prompt_vocabulary();
  if (words[0] == "check" && words.size() == 1) return check(vocabulary, arguments);
  const std::vector<KnownPrompt> known = of_modality(vocabulary, arguments.value("--modality"));
  if (words[0] == "list" && words.size() == 1) {
    print(known, arguments.has("--json"));
    return 0;
  }
  if (words[0] == "search" && words.size() > 1) {
    const std::vector<KnownPrompt> found = search(known, {words.begin() + 1, words.end()});
    print(found, arguments.has("--json"));
    if (found.empty()) std::fprintf(stderr, "sat: no name like that among the %zu known\n", known.size());
    return found.empty() ? 1 : 0;
  }
  throw UsageError("prompts takes list, search WORDS or check; not '" + words[0] + "'" +
                   (words.size() > 1       ? " with '" + words[1] + "'"
                    : words[0] == "search" ? " without words"
                                           : ""));
}

}  // namespace

Command prompts_command() {
  return {"prompts",
          "list, search and check the names that SAT knows",
          "list | search WORD... | check --prompts LIST  [--modality M]",
          "SAT was trained on 451 names of structures, each labelled in scans of certain modalities. Other words may "
          "work where the text encoder knows them, but nobody has measured how well. check ends with status 1 when a "
          "prompt is unknown or was never labelled in the modality.",
          {{"--prompts", "LIST", "prompts to check, separated by commas"},
           {"--prompts-file", "FILE", "prompts to check, one a line"},
           {"--modality", "M", "ct, mri, pet or us: list only names of that modality, or check against it"},
           {"--json", "", "print JSON (list and search)"}},
          "  sat prompts list --modality mri\n"
          "  sat prompts search kidny\n"
          "  sat prompts check --prompts \"liver,left kidnei\" --modality ct\n",
          run};
}

}  // namespace sat::cli
