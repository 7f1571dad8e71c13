// Private. What the tokenizers library makes of characters in its normalizers Lowercase, NFKD and StripAccents and its
// pre-tokenizers Whitespace and Digits, for every code point (characters.cpp says as of which Unicode). Words as BERT
// has them are words/wordpiece.h's.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sat {

/// Each character lower-cased by itself, then NFKD with marks in canonical order, then without marks. In this order, so
/// that capitals which only NFKD brings to light stay: U+2122 gives "TM".
std::u32string normalise_report(std::u32string_view text);

/// The longest runs of word characters, and of characters that are neither word nor white space, further split where
/// numeric characters meet others: "12.5cm" gives 12 . 5 cm.
std::vector<std::u32string> split_report(std::u32string_view normalised);

}  // namespace sat
