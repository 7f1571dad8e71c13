// Private. Words to vocabulary ids: the greedy search of every WordPiece tokenizer, and the uncased ones of BERT and
// MPNet, id for id as the published fast ones. Knows nothing of start and end tokens, lengths or padding, which are a
// text encoder's (nn/text/text_encoder.h); reports have a tokenizer of their own (reports/report_tokenizer.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace sat {

/// Which strings inside a text stand for a vocabulary entry as a whole.
enum class TokenizerFamily : uint8_t {
  bert,   // [PAD] [UNK] [CLS] [SEP] [MASK]
  mpnet,  // <s> <pad> </s> [UNK], <mask> (which takes the white space on its left), and <unk> in any case
};

/// One token of a text.
struct Token {
  int64_t id = 0;
  bool took_space = false;  // a <mask> that swallowed white space on its left
};

/// Entries of a vocab.txt, one a line, in the order of their ids. Throws Error, naming the line, for a file of more
/// than 16 MiB, text that is not UTF-8, an empty or a repeated line.
std::vector<std::string> read_vocabulary(const std::string& path);

/// MPNet's vocabulary from BERT's: <s> <pad> </s> <unk>, then BERT's entries, then <mask>.
std::vector<std::string> mpnet_vocabulary(const std::vector<std::string>& bert);

/// The words that the uncased pipeline splits a text into, before any vocabulary is asked: cleaned, ideographs apart,
/// without accents, lower-case, punctuation apart. Unicode's tables are those of the published library (unicode.h).
std::vector<std::u32string> split_words(std::u32string_view text);

/// How pieces are cut; the defaults are BERT's.
struct PieceRules {
  std::string unknown = "[UNK]";  // the entry for a word that cannot be cut
  std::string continued = "##";   // begins the entries that continue a word
  int64_t most_characters = 100;  // a longer word is unknown
};

/// A vocabulary and its greedy longest-match-first search.
class Pieces {
 public:
  /// Entries in the order of their ids; `source` names them in messages. Throws Error when one repeats or the rules'
  /// unknown is missing.
  Pieces(const std::vector<std::string>& entries, std::string source, PieceRules rules = {});

  /// Appends the ids of one word, in time proportional to its length. A word that is too long, or has a part that is in
  /// no entry, is one unknown.
  void append(std::vector<int64_t>& ids, std::u32string_view word) const;

  std::optional<int64_t> find(const std::string& entry) const;
  int64_t id_of(const std::string& entry) const;  // throws Error when absent
  int64_t unknown_id() const { return unknown_; }
  int64_t size() const { return int64_t(ids_.size()); }
  const std::string& source() const { return source_; }

 private:
  std::unordered_map<std::string, int64_t> ids_;
  std::string source_;
  PieceRules rules_;
  int64_t unknown_ = 0;
  size_t longest_entry_ = 0;  // bytes
};

/// A vocabulary, and how the uncased pipeline gets a text's tokens from it.
class WordPiece {
 public:
  /// Entries in the order of their ids; `source` names them in messages. Throws Error when one repeats or a string
  /// that the family needs is missing.
  WordPiece(const std::vector<std::string>& entries, TokenizerFamily family, std::string source);

  /// A vocab.txt. A BERT vocabulary read for MPNet gets MPNet's five extra entries.
  static WordPiece read(const std::string& path, TokenizerFamily family);

  /// The tokens of UTF-8 text, without start and end. A word of more than 100 characters, or with a part that is in no
  /// entry, is one [UNK]. Malformed UTF-8 throws Error.
  std::vector<Token> tokenize(std::string_view text) const;

  int64_t id_of(const std::string& entry) const { return pieces_.id_of(entry); }  // throws Error when absent
  int64_t unknown_id() const { return pieces_.unknown_id(); }
  int64_t size() const { return pieces_.size(); }
  TokenizerFamily family() const { return family_; }
  const std::string& source() const { return pieces_.source(); }

 private:
  struct Special {
    std::u32string text;
    int64_t id;
    bool takes_space;
  };
  void append_normal(std::vector<Token>& out, std::u32string_view text) const;
  void append_words(std::vector<Token>& out, const std::u32string& normalised) const;
  const Special* special_at(std::u32string_view text) const;

  Pieces pieces_;
  std::vector<Special> specials_;  // matched in the text as written
  std::u32string late_special_;    // matched after normalising; empty for none
  int64_t late_special_id_ = 0;
  TokenizerFamily family_;
};

}  // namespace sat
