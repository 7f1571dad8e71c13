// Look-ups in the tables of unicode_tables.inc and the three algorithms on top of them.
//
// The published tokenizer library mixes versions of Unicode: categories of 8.0, decompositions of 9.0, lower case of
// 14.0. Its answers for every code point were recorded; the tables are made from that record.
#include "sat/io/words/unicode.h"

#include <algorithm>
#include <iterator>

#include "sat/io/words/text.h"
#include "sat/tensor/error.h"

namespace sat {

namespace {

struct Range {
  char32_t first, last;
};
struct ClassRange {
  char32_t first, last;
  uint8_t combining_class;
};
struct Decomposition {
  char32_t from, first, second = 0;  // second is 0 where one character replaces another
};
struct LowerRun {
  char32_t first, last;
  uint32_t stride;
  char32_t lower_of_first;
};

#include "sat/io/words/unicode_tables.inc"

/// The row of a sorted table whose [first, last] holds c, or null.
template <class Row, size_t N>
const Row* find_range(const Row (&table)[N], char32_t c) {
  const Row* row = std::upper_bound(std::begin(table), std::end(table), c,
                                    [](char32_t value, const Row& candidate) { return value < candidate.first; });
  return row != std::begin(table) && c <= (row - 1)->last ? row - 1 : nullptr;
}

uint8_t combining_class(char32_t c) {
  const ClassRange* row = c < 0x300 ? nullptr : find_range(kCombiningClass, c);
  return row ? row->combining_class : uint8_t(0);
}

void append_decomposition(std::u32string& out, char32_t c) {
  constexpr char32_t kFirstSyllable = 0xAC00, kSyllables = 11172, kVowels = 21, kTails = 28;
  if (c >= kFirstSyllable && c < kFirstSyllable + kSyllables) {  // Hangul decomposes by arithmetic
    const char32_t index = c - kFirstSyllable, tail = index % kTails;
    out += char32_t(0x1100 + index / (kVowels * kTails));
    out += char32_t(0x1161 + index / kTails % kVowels);
    if (tail) out += char32_t(0x11A7 + tail);
    return;
  }
  const auto* row =
      std::lower_bound(std::begin(kDecomposition), std::end(kDecomposition), c,
                       [](const Decomposition& candidate, char32_t value) { return candidate.from < value; });
  if (c < 0xC0 || row == std::end(kDecomposition) || row->from != c) {
    out += c;
    return;
  }
  append_decomposition(out, row->first);
  if (row->second) append_decomposition(out, row->second);
}

bool is_cased(char32_t c) { return find_range(kCased, c) != nullptr; }
bool is_case_ignorable(char32_t c) { return find_range(kCaseIgnorable, c) != nullptr; }

/// Unicode's Final_Sigma condition: a cased letter before and none after, ignorable characters not counting.
bool ends_a_word(std::u32string_view text, size_t sigma) {
  size_t before = sigma;
  while (before > 0 && is_case_ignorable(text[before - 1])) --before;
  if (before == 0 || !is_cased(text[before - 1])) return false;
  size_t after = sigma + 1;
  while (after < text.size() && is_case_ignorable(text[after])) ++after;
  return after == text.size() || !is_cased(text[after]);
}

}  // namespace

std::u32string decode_utf8(std::string_view text, const std::string& what) {
  std::u32string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const int length = utf8_length(text.substr(at));
    SAT_CHECK(length > 0, what, " is not UTF-8: byte ", at, " of ", text.size(), " starts no well-formed character");
    const auto byte = [&](size_t i) { return char32_t(uint8_t(text[at + i])); };
    char32_t c = byte(0);
    if (length > 1) c &= 0x7Fu >> length;  // the leading byte's payload
    for (size_t i = 1; i < size_t(length); ++i) c = c << 6 | (byte(i) & 0x3F);
    out += c;
    at += size_t(length);
  }
  return out;
}

std::string encode_utf8(std::u32string_view text) {
  std::string out;
  out.reserve(text.size());
  for (char32_t c : text) append_utf8(out, c);
  return out;
}

bool belongs_to(char32_t c, CharClass which) {
  switch (which) {
    case CharClass::dropped: return find_range(kDropped, c) != nullptr;
    case CharClass::space: return c == U' ' || find_range(kSpace, c) != nullptr;
    case CharClass::cjk: return find_range(kCjk, c) != nullptr;
    case CharClass::mark: return find_range(kMark, c) != nullptr;
    case CharClass::punctuation: return find_range(kPunctuation, c) != nullptr;
  }
  return false;
}

bool is_white_space(char32_t c) {
  return (c >= 0x9 && c <= 0xD) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
         c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

std::u32string decompose(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (char32_t c : text) append_decomposition(out, c);
  for (auto at = out.begin(); at != out.end();) {  // marks between two starters are sorted by class, stably
    if (combining_class(*at) == 0) {
      ++at;
      continue;
    }
    const auto end = std::find_if(at, out.end(), [](char32_t c) { return combining_class(c) == 0; });
    std::stable_sort(at, end, [](char32_t a, char32_t b) { return combining_class(a) < combining_class(b); });
    at = end;
  }
  return out;
}

char32_t lower_case(char32_t c) {
  const LowerRun* run = find_range(kLower, c);
  return run && (c - run->first) % run->stride == 0 ? run->lower_of_first + (c - run->first) : c;
}

std::string python_lower(std::string_view text) {
  const std::u32string upper = decode_utf8(text, "text to lower-case");
  std::u32string lower;
  lower.reserve(upper.size());
  for (size_t i = 0; i < upper.size(); ++i) {
    if (upper[i] == U'\u03A3') {
      lower += ends_a_word(upper, i) ? U'\u03C2' : U'\u03C3';
    } else if (upper[i] == U'\u0130') {
      lower += U"i\u0307";
    } else {
      lower += lower_case(upper[i]);
    }
  }
  return encode_utf8(lower);
}

}  // namespace sat
