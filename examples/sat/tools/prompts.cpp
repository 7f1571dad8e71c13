// sat prompts: the names that SAT was trained on.
#include <algorithm>

#include "examples/sat/command_line/command_line.h"
#include "examples/sat/output/output.h"
#include "examples/sat/tools/nearest.h"
#include "examples/sat/tools/prompt_vocabulary.h"
#include "sat/io/words/json.h"

namespace sat::cli {

namespace {

constexpr size_t kMostFound = 25;

void show(const std::vector<KnownPrompt>& found, bool as_json) {
  if (as_json) {
    Json list = Json::array();
    for (const KnownPrompt& known : found) {
      Json modalities = Json::array();
      for (const std::string& modality : known.modalities) modalities.push(modality);
      list.push(Json::object().set("name", known.name).set("modalities", modalities).set("datasets", known.datasets));
    }
    print(list.dump(2) + "\n");
    return;
  }
  size_t width = 0;
  for (const KnownPrompt& known : found) width = std::max(width, known.name.size());
  for (const KnownPrompt& known : found) {
    std::string modalities;
    for (const std::string& modality : known.modalities) modalities += (modalities.empty() ? "" : ", ") + modality;
    print_line(known.name + std::string(width - known.name.size(), ' ') + "  " + modalities);
  }
}

std::vector<KnownPrompt> of_modality(const std::vector<KnownPrompt>& vocabulary, const std::string& modality) {
  if (modality.empty()) return vocabulary;
  const std::string asked = modality_name(modality);
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

int check(const std::vector<KnownPrompt>& vocabulary, const PromptsRequest& request) {
  const std::vector<std::string> prompts = prompts_of(request.prompts);
  if (prompts.empty()) throw UsageError("prompts check needs --prompts or --prompts-file");
  int questionable = 0;
  for (const std::string& prompt : prompts) {
    const std::string warning = prompt_warning(vocabulary, prompt, request.modality);
    if (!warning.empty()) ++questionable;
    print_line(warning.empty() ? "ok: " + prompt : warning);
  }
  return questionable > 0 ? kFailed : kDone;
}

}  // namespace

int run(const PromptsRequest& request) {
  const std::vector<KnownPrompt> vocabulary = read_prompt_vocabulary();
  if (request.action == PromptsRequest::Action::check) return check(vocabulary, request);
  const std::vector<KnownPrompt> known = of_modality(vocabulary, request.modality);
  if (request.action == PromptsRequest::Action::list) {
    show(known, request.as_json);
    return kDone;
  }
  const std::vector<KnownPrompt> found = search(known, request.words);
  SAT_CHECK(!found.empty(), "no name like that among the ", known.size(), " known");
  show(found, request.as_json);
  return kDone;
}

}  // namespace sat::cli
