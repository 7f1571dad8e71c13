// Private: what pickles of protocol 0 write out as text: numbers and texts with escapes; and the opcodes that are
// refused.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sat {

/// The integer of a line, which may end in L; none where it is beyond 64 bits. Throws Error for anything else.
std::optional<int64_t> written_integer(std::string_view line);
double written_real(std::string_view line);

/// What stands between the quotes that a line begins and ends with. Throws Error where there are none.
std::string_view unquoted(std::string_view line);

/// Appends the text without its escapes; false for escapes that do not occur, and for what is then not UTF-8.
bool unescape(std::string_view text, std::string& plain);

/// Throws Error naming an opcode that is not followed.
[[noreturn]] void refuse_opcode(uint8_t code);

}  // namespace sat
