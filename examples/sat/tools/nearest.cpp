// Edit distance with swaps of neighbours, on letters and on words.
#include "examples/sat/tools/nearest.h"

#include <algorithm>
#include <cstdint>

namespace sat::cli {

namespace {

constexpr size_t kLongest = 200;  // letters compared; the time is quadratic
constexpr double kAlike = 0.55;

/// Insertions, deletions, replacements and swaps of neighbours between two texts.
int64_t edit_distance(const std::string& a, const std::string& b) {
  const size_t rows = std::min(a.size(), kLongest), columns = std::min(b.size(), kLongest);
  std::vector<int64_t> before(columns + 1), last(columns + 1), now(columns + 1);
  for (size_t j = 0; j <= columns; ++j) last[j] = int64_t(j);
  for (size_t i = 1; i <= rows; ++i) {
    now[0] = int64_t(i);
    for (size_t j = 1; j <= columns; ++j) {
      now[j] = std::min({last[j] + 1, now[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) now[j] = std::min(now[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, now);
  }
  return last[columns];
}

double letters_alike(const std::string& a, const std::string& b) {
  const size_t longest = std::min(std::max(a.size(), b.size()), kLongest);
  return longest == 0 ? 1 : 1 - double(edit_distance(a, b)) / double(longest);
}

std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words;
  std::string word;
  for (char c : text + " ") {
    const bool part = c != ' ' && c != '-' && c != '_' && c != '(' && c != ')' && c != ',';
    if (part) word += c;
    if (!part && !word.empty()) words.push_back(std::move(word)), word.clear();
  }
  return words;
}

}  // namespace

std::string plain(const std::string& text) {
  std::string result;
  for (char c : text) {
    const bool space = c == ' ' || c == '\t' || c == '\n' || c == '\r';
    if (space && (result.empty() || result.back() == ' ')) continue;
    result += space ? ' ' : c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c;
  }
  if (!result.empty() && result.back() == ' ') result.pop_back();
  return result;
}

double likeness(const std::string& a, const std::string& b) {
  const std::vector<std::string> of_a = words_of(a);
  std::vector<std::string> left = words_of(b);
  const double most = double(std::max(of_a.size(), left.size()));
  double shared = 0;
  for (const std::string& word : of_a) {
    auto best = left.end();
    double alike = 0.7;
    for (auto other = left.begin(); other != left.end(); ++other) {
      const double each = letters_alike(word, *other);
      if (each > alike) alike = each, best = other;
    }
    if (best == left.end()) continue;
    shared += alike;
    left.erase(best);
  }
  return std::max(letters_alike(a, b), most > 0 ? shared / most : 0);
}

std::vector<std::string> nearest_names(const std::string& name, const std::vector<std::string>& known, size_t most) {
  std::vector<std::pair<double, std::string>> found;
  for (const std::string& candidate : known) {
    const double alike = likeness(plain(name), plain(candidate));
    if (alike >= kAlike) found.emplace_back(alike, candidate);
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<std::string> names;
  for (size_t i = 0; i < std::min(most, found.size()); ++i) names.push_back(found[i].second);
  return names;
}

std::string either(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < names.size(); ++i) {
    if (i > 0) text += i + 1 == names.size() ? " or " : ", ";
    text += "\"" + names[i] + "\"";
  }
  return text;
}

}  // namespace sat::cli
