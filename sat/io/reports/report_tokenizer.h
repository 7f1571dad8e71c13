// Private. The tokenizer of reports: a tokenizer.json as the Hugging Face tokenizers library writes it, of the one kind
// that ECAMP has. Knows nothing of masking (report_masking.h).
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sat/io/words/wordpiece.h"

namespace sat {

/// How many ids a text gets.
struct ReportLength {
  int64_t at_most = std::numeric_limits<int64_t>::max();  // further ones are cut off
  int64_t at_least = 0;                                   // filled up with [PAD] on the right
};

/// The ids of a text, and how many of them are the text's: the attention mask is 1 on those and 0 on the padding.
struct ReportIds {
  std::vector<int64_t> ids;
  int64_t used = 0;
};

/// WordPiece after Lowercase, NFKD and StripAccents, and the splits of Whitespace and Digits; no post-processor, so
/// that nothing is put before or behind a text.
class ReportTokenizer {
 public:
  /// Throws Error, naming what it is, for whatever this tokenizer does not do: another model, normalizer, pre-tokenizer
  /// or post-processor, truncation or padding in the file, an added token that takes spaces or is matched in another
  /// way than as written; and for a vocabulary whose ids are not 0 to n - 1, each once, that lacks [PAD], [UNK], [CLS],
  /// [MASK] or [SEP], or has more than 200,000 entries or 16 MiB.
  static ReportTokenizer read(const std::string& path);
  static ReportTokenizer parse(std::string_view json, const std::string& source);

  /// The ids of UTF-8 text. Added tokens ("[CLS]") are found in the text as written, the earliest first and the longest
  /// of those; what lies between is normalised, split and cut. Malformed UTF-8 throws Error.
  ReportIds encode(std::string_view text, ReportLength length = {}) const;

  std::optional<int64_t> find(const std::string& entry) const { return pieces_.find(entry); }
  int64_t id_of(const std::string& entry) const { return pieces_.id_of(entry); }  // throws Error when absent
  int64_t size() const { return pieces_.size(); }
  int64_t pad_id() const { return pad_; }
  int64_t mask_id() const { return mask_; }
  /// Does the entry of this id continue a word ("##ly")? False for ids that the vocabulary lacks.
  bool continues_word(int64_t id) const;

 private:
  struct Added {
    std::u32string text;
    int64_t id;
  };
  struct Parts;
  explicit ReportTokenizer(Parts parts);
  const Added* added_at(std::u32string_view text) const;

  Pieces pieces_;
  std::vector<uint8_t> continues_;  // of every id
  std::vector<Added> added_;        // longest first
  int64_t pad_ = 0, mask_ = 0;
};

}  // namespace sat
