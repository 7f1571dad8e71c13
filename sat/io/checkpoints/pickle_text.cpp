// Values written out, and names of opcodes.
#include "sat/io/checkpoints/pickle_text.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "sat/io/words/text.h"
#include "sat/tensor/error.h"

namespace sat {

namespace {

/// Opcodes of the format that no file needs, named for messages.
struct RefusedOpcode {
  uint8_t code;
  const char* name;
};
constexpr std::array<RefusedOpcode, 6> kRefused{{{'P', "PERSID"},
                                                 {0x82, "EXT1"},
                                                 {0x83, "EXT2"},
                                                 {0x84, "EXT4"},
                                                 {0x97, "NEXT_BUFFER"},
                                                 {0x98, "READONLY_BUFFER"}}};

}  // namespace

std::optional<int64_t> written_integer(std::string_view line) {
  std::string_view digits = line;
  if (!digits.empty() && digits.back() == 'L') digits.remove_suffix(1);
  int64_t value = 0;
  const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const bool is_number = !digits.empty() && end == digits.data() + digits.size();
  if (is_number && problem == std::errc::result_out_of_range) return std::nullopt;
  SAT_CHECK(is_number && problem == std::errc(), quoted(line), " is no integer");
  return value;
}

double written_real(std::string_view line) {
  double value = 0;
  const auto [end, problem] = std::from_chars(line.data(), line.data() + line.size(), value);
  SAT_CHECK(!line.empty() && problem == std::errc() && end == line.data() + line.size(), quoted(line), " is no float");
  return value;
}

std::string_view unquoted(std::string_view line) {
  const bool quotes = line.size() >= 2 && (line[0] == '\'' || line[0] == '"') && line.back() == line[0];
  SAT_CHECK(quotes, "the text ", quoted(line), " has no quotes");
  return line.substr(1, line.size() - 2);
}

bool unescape(std::string_view text, std::string& plain) {
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '\\') {
      plain += text[at];
      continue;
    }
    constexpr std::string_view kLetters = "\\'\"nrt", kMeanings = "\\'\"\n\r\t";
    const char letter = ++at < text.size() ? text[at] : '\0';
    const size_t digits = letter == 'x' ? 2 : letter == 'u' ? 4 : letter == 'U' ? 8 : 0;
    const std::string_view hex = text.substr(std::min(at + 1, text.size()), digits);
    uint32_t code_point = 0;
    const auto end = std::from_chars(hex.data(), hex.data() + hex.size(), code_point, 16).ptr;
    const bool surrogate = code_point >= 0xD800 && code_point <= 0xDFFF;
    if (digits > 0 && hex.size() == digits && end == hex.data() + digits && code_point <= 0x10FFFF && !surrogate) {
      append_utf8(plain, code_point);
      at += digits;
    } else if (const size_t meaning = kLetters.find(letter); meaning != std::string_view::npos) {
      plain += kMeanings[meaning];
    } else {
      return false;
    }
  }
  return is_utf8(plain);
}

[[noreturn]] void refuse_opcode(uint8_t code) {
  constexpr const char* kDigits = "0123456789abcdef";
  const std::string hex = {'0', 'x', kDigits[code >> 4], kDigits[code & 15]};
  for (const RefusedOpcode& refused : kRefused) {
    if (refused.code == code) fail("opcode ", hex, " (", refused.name, ") is not one that a state dict needs");
  }
  fail("opcode ", hex, " is unknown");
}

}  // namespace sat
