// Look-ups in the tables of character_tables.inc, which were recorded from the library (tests/tools/
// make_report_tables.py): decompositions and marks are those of Unicode 9.0, word characters and numbers newer.
#include "sat/io/reports/characters.h"

#include <algorithm>
#include <cstdint>
#include <iterator>

#include "sat/io/words/unicode.h"

namespace sat {

namespace {

struct Range {
  char32_t first, last;
};
struct OneRun {
  char32_t first, last, to;
};
struct Several {
  char32_t first;
  uint16_t at, count;
};

#include "sat/io/reports/character_tables.inc"

/// The last row of a sorted table that begins no later than c, or null.
template <class Row, size_t N>
const Row* row_before(const Row (&table)[N], char32_t c) {
  const Row* row = std::upper_bound(std::begin(table), std::end(table), c,
                                    [](char32_t value, const Row& candidate) { return value < candidate.first; });
  return row == std::begin(table) ? nullptr : row - 1;
}

/// The row of a sorted table whose [first, last] holds c, or null.
template <class Row, size_t N>
const Row* find_range(const Row (&table)[N], char32_t c) {
  const Row* row = row_before(table, c);
  return row && c <= row->last ? row : nullptr;
}

/// Appends what NFKD gives for a character, marks not yet in order, where that is not what NFD gives.
void append_compatible(std::u32string& out, char32_t c) {
  if (const OneRun* run = find_range(kOne, c)) {
    out += run->to + (c - run->first);
  } else if (const Several* several = row_before(kSeveral, c); several && several->first == c) {
    out.append(kSeveralText + several->at, several->count);
  } else {
    out += c;
  }
}

enum class Kind : uint8_t { space, numeric, word, other, other_numeric };

Kind kind_of(char32_t c) {
  if (is_white_space(c)) return Kind::space;
  const bool numeric = find_range(kNumeric, c) != nullptr;
  if (find_range(kWord, c)) return numeric ? Kind::numeric : Kind::word;
  return numeric ? Kind::other_numeric : Kind::other;
}

}  // namespace

std::u32string normalise_report(std::u32string_view text) {
  std::u32string expanded;
  expanded.reserve(text.size());
  for (const char32_t c : text) {
    if (c == U'\u0130') {  // the one character whose lower case is two
      expanded += U"i\u0307";
    } else {
      append_compatible(expanded, lower_case(c));
    }
  }
  std::u32string out = decompose(expanded);
  out.erase(std::remove_if(out.begin(), out.end(), [](char32_t c) { return find_range(kAccent, c) != nullptr; }),
            out.end());
  return out;
}

std::vector<std::u32string> split_report(std::u32string_view normalised) {
  std::vector<std::u32string> words;
  Kind last = Kind::space;
  for (const char32_t c : normalised) {
    const Kind kind = kind_of(c);
    if (kind != Kind::space) {
      if (kind != last) words.emplace_back();
      words.back() += c;
    }
    last = kind;
  }
  return words;
}

}  // namespace sat
