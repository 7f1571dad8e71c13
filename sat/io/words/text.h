// Private. Text that came from a stranger: is it UTF-8, and how to show it in a message; and figures for a person.
// Knows no format (json.h) and no tables of Unicode.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sat {

/// Length in bytes of the well-formed UTF-8 character at the start of `text` (1 to 4), or 0 if there is none:
/// truncated, overlong, a surrogate, or beyond U+10FFFF.
int utf8_length(std::string_view text);

/// Whether the whole text is well-formed UTF-8.
bool is_utf8(std::string_view text);

/// Appends one code point as UTF-8. It must not be a surrogate or beyond U+10FFFF.
void append_utf8(std::string& text, uint32_t code_point);

/// The text as a terminal may be given it, however hostile its source: a single line in which control characters (C0
/// as \x1b, C1 as \u{9b}), bytes that are not UTF-8, and all that has no shape of its own (bidirectional marks, spaces
/// without width, line separators, byte order marks, soft hyphens, tags) are spelled out.
std::string printable(std::string_view text);

/// The text in single quotes for an error message: at most 80 characters of it, printable().
std::string quoted(std::string_view text);

/// "U+200B" for the first character of the text that a reader does not see or takes for something else: what
/// printable() spells out, and spaces other than the plain one. "" where there is none.
std::string invisible_character(std::string_view text);

/// Lines of a text file, whichever way they end (LF, CRLF or CR), without a byte order mark at the start. A line end at
/// the very end starts no further line. Throws Error for UTF-16, which its byte order mark gives away; `source` names
/// the text in the message.
std::vector<std::string> lines_of(std::string_view text, const std::string& source);

/// The number with so many digits behind the point, whatever the locale: fixed(2.346, 2) is "2.35".
std::string fixed(double value, int digits);

/// The number with at most so many significant digits, as short as that allows: significant(2.3456, 3) is "2.35".
std::string significant(double value, int digits);

}  // namespace sat
