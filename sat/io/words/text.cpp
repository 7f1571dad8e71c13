// UTF-8 checking, safe quoting, and figures.
#include "sat/io/words/text.h"

#include <algorithm>
#include <charconv>

#include "sat/tensor/error.h"

namespace sat {

namespace {

struct Character {
  uint32_t code_point = 0;
  int length = 0;  // bytes; 0 where the first byte starts no character
};

/// Of a text that is not empty.
Character first_character(std::string_view text) {
  const int length = utf8_length(text);
  if (length == 0) return {};
  if (length == 1) return {uint8_t(text[0]), 1};
  uint32_t code_point = uint8_t(text[0]) & (0x7Fu >> length);
  for (int i = 1; i < length; ++i) code_point = code_point << 6 | (uint8_t(text[size_t(i)]) & 0x3F);
  return {code_point, length};
}

/// Does a reader see this character (or the room that it takes), and does it leave the order of the others alone?
bool has_shape(uint32_t c) {
  const auto among = [c](uint32_t first, uint32_t last) { return c >= first && c <= last; };
  if (c < 0x20 || among(0x7F, 0x9F)) return false;                                  // C0, DEL, C1
  if (c == 0xAD || c == 0x34F || c == 0x61C) return false;                          // soft hyphen, joiner, Arabic mark
  if (c == 0x115F || c == 0x1160 || c == 0x3164 || c == 0xFFA0) return false;       // fillers
  if (among(0x17B4, 0x17B5) || among(0x180B, 0x180F)) return false;                 // Khmer, Mongolian
  if (among(0x200B, 0x200F) || among(0x2028, 0x202E)) return false;                 // no width, marks, line separators
  if (among(0x2060, 0x206F) || c == 0xFEFF || among(0xFFF0, 0xFFFB)) return false;  // joiners, isolates, BOM
  return !among(0xE0000, 0xE0FFF);                                                  // tags
}

std::string in_hex(uint32_t value, size_t digits, char ten) {
  std::string text;
  for (; value > 0 || text.size() < digits; value >>= 4) {
    const uint32_t digit = value & 15;
    text.insert(text.begin(), char(digit < 10 ? '0' + digit : ten + (digit - 10)));
  }
  return text;
}

/// Moves the first character of `text` to `shown`, spelled out where it must be.
void append_printable(std::string& shown, std::string_view& text) {
  const Character first = first_character(text);
  if (first.length <= 1 && (first.length == 0 || !has_shape(first.code_point))) {
    shown += "\\x" + in_hex(uint8_t(text[0]), 2, 'a');
  } else if (!has_shape(first.code_point)) {
    shown += "\\u{" + in_hex(first.code_point, 1, 'a') + "}";
  } else {
    shown += text.substr(0, size_t(first.length));
  }
  text.remove_prefix(size_t(std::max(first.length, 1)));
}

}  // namespace

int utf8_length(std::string_view text) {
  if (text.empty()) return 0;
  const auto byte = [&](size_t i) { return i < text.size() ? uint8_t(text[i]) : uint8_t(0); };
  const auto continues = [&](size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return continues(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const bool overlong = first == 0xE0 && byte(1) < 0xA0;
    const bool surrogate = first == 0xED && byte(1) > 0x9F;
    return continues(1) && continues(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const bool overlong = first == 0xF0 && byte(1) < 0x90;
    const bool beyond = first == 0xF4 && byte(1) > 0x8F;
    return continues(1) && continues(2) && continues(3) && !overlong && !beyond ? 4 : 0;
  }
  return 0;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const int length = utf8_length(text);
    if (length == 0) return false;
    text.remove_prefix(size_t(length));
  }
  return true;
}

void append_utf8(std::string& text, uint32_t code_point) {
  if (code_point < 0x80) {
    text += char(code_point);
  } else if (code_point < 0x800) {
    text += char(0xC0 | (code_point >> 6));
    text += char(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    text += char(0xE0 | (code_point >> 12));
    text += char(0x80 | ((code_point >> 6) & 0x3F));
    text += char(0x80 | (code_point & 0x3F));
  } else {
    text += char(0xF0 | (code_point >> 18));
    text += char(0x80 | ((code_point >> 12) & 0x3F));
    text += char(0x80 | ((code_point >> 6) & 0x3F));
    text += char(0x80 | (code_point & 0x3F));
  }
}

std::string printable(std::string_view text) {
  std::string shown;
  while (!text.empty()) append_printable(shown, text);
  return shown;
}

std::string quoted(std::string_view text) {
  constexpr int kMostShown = 80;
  std::string shown = "'";
  for (int count = 0; !text.empty(); ++count) {
    if (count == kMostShown) return shown + "...'";
    append_printable(shown, text);
  }
  return shown + "'";
}

std::string invisible_character(std::string_view text) {
  while (!text.empty()) {
    const Character first = first_character(text);
    const uint32_t c = first.code_point;
    const bool like_a_space =
        c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x202F || c == 0x205F || c == 0x3000;
    if (first.length > 0 && (like_a_space || !has_shape(c))) return "U+" + in_hex(c, 4, 'A');
    text.remove_prefix(size_t(std::max(first.length, 1)));
  }
  return "";
}

std::vector<std::string> lines_of(std::string_view text, const std::string& source) {
  const std::string_view start = text.substr(0, 2);
  SAT_CHECK(start != "\xFF\xFE" && start != "\xFE\xFF", source, ": this text is UTF-16; save it as UTF-8");
  if (text.substr(0, 3) == "\xEF\xBB\xBF") text.remove_prefix(3);
  std::vector<std::string> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of("\r\n"), text.size());
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + (text.substr(end, 2) == "\r\n" ? 2 : 1), text.size()));
  }
  return lines;
}

std::string fixed(double value, int digits) {
  char text[512];  // of any double with up to 100 digits
  const auto end = std::to_chars(text, text + sizeof text, value, std::chars_format::fixed, digits);
  return end.ec == std::errc() ? std::string(text, end.ptr) : "?";
}

std::string significant(double value, int digits) {
  char text[64];
  const auto end = std::to_chars(text, text + sizeof text, value, std::chars_format::general, digits);
  return end.ec == std::errc() ? std::string(text, end.ptr) : "?";
}

}  // namespace sat
