// Files of the reports' tokenizer for tests: a small one, parts of which can be replaced, and one with the recorded
// ids.
#pragma once

#include <string>
#include <vector>

#include "sat/io/reports/report_tokenizer.h"
#include "sat/io/words/json.h"
#include "tests/support/golden.h"

namespace sat::test {

/// A tokenizer.json of this vocabulary, whose first five entries are the added tokens.
inline Json tokenizer_json(const std::vector<std::string>& entries) {
  std::vector<Json::Member> vocabulary;
  Json added = Json::array();
  for (size_t id = 0; id < entries.size(); ++id) {
    vocabulary.emplace_back(entries[id], int64_t(id));
    if (id >= 5) continue;
    Json token = Json::parse(
        R"({"special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false})", "token");
    added.push(token.set("id", int64_t(id)).set("content", entries[id]));
  }
  Json model = Json::parse(R"({"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                               "max_input_chars_per_word": 100})",
                           "model");
  model.set("vocab", Json::object(std::move(vocabulary)));
  Json file = Json::parse(R"({
      "version": "1.0", "truncation": null, "padding": null, "post_processor": null, "decoder": null,
      "normalizer": {"type": "Sequence",
                     "normalizers": [{"type": "Lowercase"}, {"type": "NFKD"}, {"type": "StripAccents"}]},
      "pre_tokenizer": {"type": "Sequence",
                        "pretokenizers": [{"type": "Whitespace"}, {"type": "Digits", "individual_digits": false}]}})",
                          "file");
  return file.set("added_tokens", std::move(added)).set("model", std::move(model));
}

/// [PAD] 0, [UNK] 1, [CLS] 2, [MASK] 3, [SEP] 4, then these.
inline ReportTokenizer small_tokenizer(const std::vector<std::string>& entries) {
  std::vector<std::string> all{"[PAD]", "[UNK]", "[CLS]", "[MASK]", "[SEP]"};
  all.insert(all.end(), entries.begin(), entries.end());
  return ReportTokenizer::parse(tokenizer_json(all).dump(), "small.json");
}

/// The published vocabulary's entries that the recorded values need, under their ids; the others are strings that no
/// text gives.
inline std::string recorded_tokenizer_json() {
  std::vector<std::string> entries(30000);
  for (size_t id = 0; id < entries.size(); ++id) entries[id] = "no word " + std::to_string(id);
  const Json recorded = Json::parse(read_text(golden_path("reports/entries.json")), "entries.json");
  for (const auto& [entry, id] : recorded.members()) entries.at(size_t(id.integer())) = entry;
  return tokenizer_json(entries).dump();
}

}  // namespace sat::test
