// The uncased pipeline: special strings, cleaning, word splitting, greedy pieces.
#include "sat/io/words/wordpiece.h"

#include <algorithm>

#include "sat/io/files/file.h"
#include "sat/io/words/text.h"
#include "sat/io/words/unicode.h"
#include "sat/tensor/error.h"

namespace sat {

namespace {

constexpr int64_t kMaxVocabularyBytes = int64_t(16) << 20;

/// Cleaned, ideographs between spaces, accents removed, each character lower-cased by itself.
std::u32string normalise(std::u32string_view text) {
  std::u32string clean;
  clean.reserve(text.size());
  for (char32_t c : text) {
    if (belongs_to(c, CharClass::dropped)) continue;
    if (belongs_to(c, CharClass::space)) {
      clean += U' ';
    } else if (belongs_to(c, CharClass::cjk)) {
      clean += {U' ', c, U' '};
    } else {
      clean += c;
    }
  }
  std::u32string lower;
  lower.reserve(clean.size());
  for (char32_t c : decompose(clean)) {
    if (!belongs_to(c, CharClass::mark)) lower += lower_case(c);
  }
  return lower;
}

/// Splits normalised text at spaces and around every punctuation character.
std::vector<std::u32string> words_of(std::u32string_view normalised) {
  std::vector<std::u32string> words;
  std::u32string word;
  const auto finish = [&] {
    if (!word.empty()) words.push_back(std::move(word));
    word.clear();
  };
  for (char32_t c : normalised) {
    if (c == U' ') {
      finish();
    } else if (belongs_to(c, CharClass::punctuation)) {
      finish();
      words.push_back(std::u32string(1, c));
    } else {
      word += c;
    }
  }
  finish();
  return words;
}

}  // namespace

std::vector<std::string> read_vocabulary(const std::string& path) {
  const std::string text = read_file(path, kMaxVocabularyBytes);
  std::vector<std::string> entries;
  for (size_t start = 0; start < text.size();) {
    const size_t end = std::min(text.find('\n', start), text.size());
    size_t length = end - start;
    if (length > 0 && text[end - 1] == '\r') --length;
    const std::string entry = text.substr(start, length);
    SAT_CHECK(!entry.empty(), path, ": line ", entries.size() + 1, " is empty; a vocabulary has one entry a line");
    SAT_CHECK(is_utf8(entry), path, ": line ", entries.size() + 1, " is not UTF-8");
    entries.push_back(entry);
    start = end + 1;
  }
  SAT_CHECK(!entries.empty(), path, ": the vocabulary is empty");
  return entries;
}

std::vector<std::string> mpnet_vocabulary(const std::vector<std::string>& bert) {
  std::vector<std::string> entries{"<s>", "<pad>", "</s>", "<unk>"};
  entries.insert(entries.end(), bert.begin(), bert.end());
  entries.push_back("<mask>");
  return entries;
}

std::vector<std::u32string> split_words(std::u32string_view text) { return words_of(normalise(text)); }

Pieces::Pieces(const std::vector<std::string>& entries, std::string source, PieceRules rules)
    : source_(std::move(source)), rules_(std::move(rules)) {
  ids_.reserve(entries.size());
  for (size_t id = 0; id < entries.size(); ++id) {
    const auto [place, is_new] = ids_.emplace(entries[id], int64_t(id));
    SAT_CHECK(is_new, source_, ": entry ", quoted(entries[id]), " stands in lines ", place->second + 1, " and ",
              id + 1);
    longest_entry_ = std::max(longest_entry_, entries[id].size());
  }
  unknown_ = id_of(rules_.unknown);
}

std::optional<int64_t> Pieces::find(const std::string& entry) const {
  const auto found = ids_.find(entry);
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

int64_t Pieces::id_of(const std::string& entry) const {
  const std::optional<int64_t> found = find(entry);
  SAT_CHECK(found, source_, ": a vocabulary of ", ids_.size(), " entries without ", quoted(entry));
  return *found;
}

void Pieces::append(std::vector<int64_t>& ids, std::u32string_view word) const {
  const size_t before = ids.size();
  const auto give_up = [&] {
    ids.resize(before);
    ids.push_back(unknown_);
  };
  if (int64_t(word.size()) > rules_.most_characters) return give_up();
  for (size_t start = 0; start < word.size();) {
    std::string piece = start == 0 ? "" : rules_.continued;
    std::vector<size_t> lengths;  // of the piece in bytes, after each further character
    for (size_t i = start; i < word.size() && piece.size() < longest_entry_; ++i) {
      append_utf8(piece, word[i]);
      lengths.push_back(piece.size());
    }
    size_t taken = lengths.size();
    auto found = ids_.end();
    while (taken > 0 && (found = ids_.find(piece.substr(0, lengths[taken - 1]))) == ids_.end()) --taken;
    if (taken == 0) return give_up();
    ids.push_back(found->second);
    start += taken;
  }
}

WordPiece::WordPiece(const std::vector<std::string>& entries, TokenizerFamily family, std::string source)
    : pieces_(entries, std::move(source)), family_(family) {
  std::vector<std::string> whole;
  if (family == TokenizerFamily::mpnet) {
    whole = {"<s>", "<pad>", "</s>", "<mask>", "[UNK]"};
    late_special_ = U"<unk>";
    late_special_id_ = id_of("<unk>");
  } else {
    whole = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
  }
  for (const std::string& text : whole) {
    specials_.push_back({decode_utf8(text, "a special string"), id_of(text), text == "<mask>"});
  }
}

WordPiece WordPiece::read(const std::string& path, TokenizerFamily family) {
  const std::vector<std::string> entries = read_vocabulary(path);
  const bool extend = family == TokenizerFamily::mpnet && entries.front() != "<s>";
  return WordPiece(extend ? mpnet_vocabulary(entries) : entries, family, path);
}

const WordPiece::Special* WordPiece::special_at(std::u32string_view text) const {
  for (const Special& special : specials_) {
    if (text.substr(0, special.text.size()) == special.text) return &special;
  }
  return nullptr;
}

std::vector<Token> WordPiece::tokenize(std::string_view utf8) const {
  const std::u32string text = decode_utf8(utf8, "a prompt");
  const std::u32string_view view(text);
  std::vector<Token> tokens;
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    const Special* special = special_at(view.substr(at));
    if (!special) {
      ++at;
      continue;
    }
    size_t end = at;
    while (special->takes_space && end > done && is_white_space(text[end - 1])) --end;
    append_normal(tokens, view.substr(done, end - done));
    tokens.push_back({special->id, end < at});
    at += special->text.size();
    done = at;
  }
  append_normal(tokens, view.substr(done));
  return tokens;
}

void WordPiece::append_normal(std::vector<Token>& out, std::u32string_view text) const {
  const std::u32string normalised = normalise(text);
  if (late_special_.empty()) return append_words(out, normalised);
  size_t done = 0;
  for (size_t at; (at = normalised.find(late_special_, done)) != std::u32string::npos;) {
    append_words(out, normalised.substr(done, at - done));
    out.push_back({late_special_id_, false});
    done = at + late_special_.size();
  }
  append_words(out, normalised.substr(done));
}

void WordPiece::append_words(std::vector<Token>& out, const std::u32string& normalised) const {
  std::vector<int64_t> ids;
  for (const std::u32string& word : words_of(normalised)) pieces_.append(ids, word);
  for (const int64_t id : ids) out.push_back({id, false});
}

}  // namespace sat
