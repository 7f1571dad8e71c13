// Widths are those that terminals agree on; where they do not, a line may end a column early.
#include "examples/sat/output/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "sat/io/words/text.h"

namespace sat::cli {

namespace {

constexpr int kUsualColumns = 80;

uint32_t code_point_of(std::string_view character) {
  if (character.size() == 1) return uint8_t(character[0]);
  uint32_t value = uint8_t(character[0]) & (0x7Fu >> character.size());
  for (size_t i = 1; i < character.size(); ++i) value = value << 6 | (uint8_t(character[i]) & 0x3F);
  return value;
}

int width_of_character(uint32_t c) {
  const auto among = [c](uint32_t first, uint32_t last) { return c >= first && c <= last; };
  if (among(0x300, 0x36F) || among(0x1AB0, 0x1AFF) || among(0x1DC0, 0x1DFF) || among(0x20D0, 0x20FF) ||
      among(0xFE00, 0xFE0F) || among(0xFE20, 0xFE2F) || c == 0x200D) {
    return 0;
  }
  const bool wide = among(0x1100, 0x115F) || among(0x2E80, 0x303E) || among(0x3041, 0xA4CF) || among(0xAC00, 0xD7A3) ||
                    among(0xF900, 0xFAFF) || among(0xFE30, 0xFE6F) || among(0xFF00, 0xFF60) || among(0xFFE0, 0xFFE6) ||
                    among(0x1F300, 0x1F64F) || among(0x1F680, 0x1F6FF) || among(0x1F900, 0x1FAFF) ||
                    among(0x20000, 0x3FFFD);
  return wide ? 2 : 1;
}

std::vector<std::string_view> characters_of(std::string_view text) {
  std::vector<std::string_view> characters;
  while (!text.empty()) {
    const auto length = size_t(std::max(utf8_length(text), 1));
    characters.push_back(text.substr(0, length));
    text.remove_prefix(length);
  }
  return characters;
}

}  // namespace

bool can_redraw(int descriptor) {
  const char* kind = std::getenv("TERM");
  return ::isatty(descriptor) != 0 && kind && *kind && std::string_view(kind) != "dumb";
}

int columns_of(int descriptor) {
  struct winsize size {};
  return ::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : kUsualColumns;
}

int width_of(const std::string& text) {
  int width = 0;
  for (std::string_view character : characters_of(text)) width += width_of_character(code_point_of(character));
  return width;
}

std::string shortened(const std::string& text, int columns) {
  constexpr std::string_view kGap = "...";
  if (width_of(text) <= columns) return text;
  const std::vector<std::string_view> characters = characters_of(text);
  const int room = std::max(columns - int(kGap.size()), 0);
  size_t first = 0, last = characters.size();
  int used = 0;
  for (bool front = true; first < last; front = !front) {
    const int width = width_of_character(code_point_of(front ? characters[first] : characters[last - 1]));
    if (used + width > room) break;
    used += width;
    if (front) {
      ++first;
    } else {
      --last;
    }
  }
  std::string shown;
  for (size_t i = 0; i < first; ++i) shown += characters[i];
  shown += kGap.substr(0, size_t(std::max(columns, 0)));
  for (size_t i = last; i < characters.size(); ++i) shown += characters[i];
  return shown;
}

}  // namespace sat::cli
