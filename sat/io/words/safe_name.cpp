// The rules are the union of what POSIX, Windows and macOS forbid, so that a result folder can be copied anywhere.
#include "sat/io/words/safe_name.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string_view>

#include "sat/io/words/text.h"
#include "sat/io/words/unicode.h"

namespace sat {

namespace {

bool is_forbidden(char32_t c) {
  if (c < 0x20 || (c >= 0x7F && c < 0xA0)) return true;                         // C0 and C1 controls
  if (c == 0x200E || c == 0x200F || (c >= 0x2028 && c <= 0x202E)) return true;  // breaks and changes of direction
  if (c >= 0x2066 && c <= 0x2069) return true;                                  // isolated changes of direction
  if (c == 0xFEFF || c == 0xFFFE || c == 0xFFFF) return true;                   // byte order mark, no characters
  return c < 0x80 && std::string_view("/\\<>:\"|?*").find(char(c)) != std::string_view::npos;
}

std::string ascii_upper(std::string_view text) {
  std::string upper(text);
  for (char& c : upper) {
    if (c >= 'a' && c <= 'z') c = char(c - 'a' + 'A');
  }
  return upper;
}

/// Windows keeps these names for devices, whatever follows the first dot.
bool is_device_name(std::string_view name) {
  std::string stem = ascii_upper(name.substr(0, name.find('.')));
  while (!stem.empty() && stem.back() == ' ') stem.pop_back();
  constexpr std::array<std::string_view, 6> kDevices{"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"};
  if (std::find(kDevices.begin(), kDevices.end(), stem) != kDevices.end()) return true;
  const bool port = stem.rfind("COM", 0) == 0 || stem.rfind("LPT", 0) == 0;
  if (!port) return false;
  const std::string_view number = std::string_view(stem).substr(3);
  return (number.size() == 1 && number[0] >= '0' && number[0] <= '9') || number == "\u00B9" || number == "\u00B2" ||
         number == "\u00B3";
}

void drop_trailing(std::string& name) {
  while (!name.empty() && (name.back() == ' ' || name.back() == '.')) name.pop_back();
}

/// The longest part of `name` that ends between characters and takes at most `bytes`.
std::string shortened(const std::string& name, size_t bytes) {
  if (name.size() <= bytes) return name;
  while (bytes > 0 && (uint8_t(name[bytes]) & 0xC0) == 0x80) --bytes;
  std::string kept = name.substr(0, bytes);
  drop_trailing(kept);
  return kept;
}

/// Equal for names that some file system takes for one.
std::u32string collision_key(const std::string& name) {
  std::u32string key = decompose(decode_utf8(name, "a file name"));
  for (char32_t& c : key) c = lower_case(c);
  return decompose(key);
}

}  // namespace

std::string safe_name(const std::string& name) {
  std::string safe;
  for (size_t at = 0; at < name.size();) {
    const std::string_view rest = std::string_view(name).substr(at);
    const int length = utf8_length(rest);
    if (length == 0) {
      safe += '_';
      ++at;
      continue;
    }
    const std::string_view character = rest.substr(0, size_t(length));
    const char32_t c = decode_utf8(character, "a file name")[0];
    const bool leading_space = safe.empty() && c == ' ';
    if (!leading_space) safe += is_forbidden(c) ? std::string("_") : std::string(character);
    at += size_t(length);
  }
  drop_trailing(safe);
  for (size_t at = 0; at < safe.size() && safe[at] == '.'; ++at) safe[at] = '_';
  if (is_device_name(safe)) safe.insert(safe.begin(), '_');
  safe = shortened(safe, size_t(kMaxSafeNameBytes));
  return safe.empty() ? "unnamed" : safe;
}

std::vector<std::string> safe_names(const std::vector<std::string>& names) {
  std::vector<std::string> safe;
  std::set<std::u32string> taken;
  for (const std::string& name : names) safe.push_back(safe_name(name));
  // Names that need no number keep theirs: "a-2" is not given to the second "a" when somebody is called so.
  std::vector<bool> settled(safe.size());
  for (size_t i = 0; i < safe.size(); ++i) settled[i] = taken.insert(collision_key(safe[i])).second;
  // The next number of names that look alike, long ones with another end included: none is tried twice.
  constexpr size_t kLongestSuffix = 20;
  std::map<std::u32string, int64_t> next;
  for (size_t i = 0; i < safe.size(); ++i) {
    if (settled[i]) continue;
    const std::string base = safe[i];
    const std::string stem = shortened(base, size_t(kMaxSafeNameBytes) - kLongestSuffix);
    for (int64_t& number = next.try_emplace(collision_key(stem), 2).first->second;;) {
      const std::string suffix = "-" + std::to_string(number++);
      safe[i] = shortened(base, size_t(kMaxSafeNameBytes) - suffix.size()) + suffix;
      if (taken.insert(collision_key(safe[i])).second) break;
    }
  }
  return safe;
}

}  // namespace sat
