// Private. The little of Unicode that word-splitting needs: code points, old character classes, decomposition, lower
// case. Knows no vocabulary (wordpiece.h). The tables are those of the published tokenizers, not today's (unicode.cpp).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sat {

/// Code points of UTF-8 text. Malformed bytes throw Error; `what` names the text in the message ("a prompt").
std::u32string decode_utf8(std::string_view text, const std::string& what);
std::string encode_utf8(std::u32string_view text);

/// What BERT's uncased tokenizers do with a character. The classes follow Unicode 8.0's categories; characters that
/// came later are in none of them.
enum class CharClass : uint8_t {
  dropped,      // removed first: controls, formats, private use, U+0000, U+FFFD
  space,        // becomes U+0020
  cjk,          // an ideograph: a word of its own
  mark,         // removed after decomposition (category Mn)
  punctuation,  // a word of its own
};
bool belongs_to(char32_t c, CharClass which);

/// Unicode's White_Space property.
bool is_white_space(char32_t c);

/// Canonical decomposition with marks in canonical order (NFD), as of Unicode 9.0.
std::u32string decompose(std::u32string_view text);

/// Lower case of one character by itself (Unicode 14.0): a capital sigma always gives U+03C3. U+0130, whose lower case
/// is two characters, stays.
char32_t lower_case(char32_t c);

/// Lower case of a whole text exactly as Python 3.11's str.lower: a capital sigma at a word's end gives U+03C2, U+0130
/// gives two characters. UTF-8 in and out; malformed bytes throw Error.
std::string python_lower(std::string_view text);

}  // namespace sat
