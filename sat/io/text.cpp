// UTF-8 checking, safe quoting, and figures.
#include "sat/io/text.h"

#include <charconv>

namespace sat {

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

std::string quoted(std::string_view text) {
  constexpr int kMostShown = 80;
  std::string shown = "'";
  for (int count = 0; !text.empty(); ++count) {
    if (count == kMostShown) return shown + "...'";
    const int length = utf8_length(text);
    const auto first = uint8_t(text[0]);
    if (length == 0 || first < 0x20 || first == 0x7F) {
      const char* digits = "0123456789abcdef";
      shown += {'\\', 'x', digits[first >> 4], digits[first & 15]};
      text.remove_prefix(1);
    } else {
      shown += text.substr(0, size_t(length));
      text.remove_prefix(size_t(length));
    }
  }
  return shown + "'";
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
