// Reading arguments strictly: a misspelt option is an error, not a file name.
#include "examples/sat/command.h"

#include <charconv>
#include <cmath>

#include "examples/sat/nearest.h"

namespace sat::cli {

namespace {

struct Names {
  std::string brief, full;
};

Names names_of(const Option& option) {
  const size_t comma = option.name.find(", ");
  if (comma == std::string::npos) return {"", option.name};
  return {option.name.substr(0, comma), option.name.substr(comma + 2)};
}

const Option* find_option(const Command& command, const std::string& name) {
  for (const Option& option : command.options) {
    const Names names = names_of(option);
    if (name == names.full || (!names.brief.empty() && name == names.brief)) return &option;
  }
  return nullptr;
}

[[noreturn]] void refuse(const std::string& message) { throw UsageError(message); }

/// Breaks text into lines of at most `width` characters, each after `indent` spaces.
std::string wrapped(const std::string& text, size_t indent, size_t width) {
  std::string lines, line;
  const auto end_line = [&] {
    if (!lines.empty()) lines.append(1, '\n').append(indent, ' ');
    lines += line;
    line.clear();
  };
  for (size_t at = 0; at < text.size();) {
    const size_t space = std::min(text.find(' ', at), text.size());
    const std::string word = text.substr(at, space - at);
    if (!line.empty() && line.size() + 1 + word.size() > width) end_line();
    line += (line.empty() ? "" : " ") + word;
    at = space + 1;
  }
  end_line();
  return lines;
}

}  // namespace

Arguments::Arguments(const Command& command, const std::vector<std::string>& words) : command_(command) {
  bool only_words = false;
  for (size_t i = 0; i < words.size(); ++i) {
    std::string word = words[i];
    if (only_words || word.size() < 2 || word[0] != '-') {
      words_.push_back(word);
      continue;
    }
    if (word == "--") {
      only_words = true;
      continue;
    }
    if (word == "--help" || word == "-h") {
      help_ = true;
      continue;
    }
    std::string value;
    const size_t equals = word.rfind("--", 0) == 0 ? word.find('=') : std::string::npos;
    const bool joined = equals != std::string::npos;
    if (joined) value = word.substr(equals + 1), word.resize(equals);

    const Option* option = find_option(command, word);
    if (!option) {
      std::vector<std::string> known{"--help"};
      for (const Option& each : command.options) known.push_back(names_of(each).full);
      const std::vector<std::string> near = nearest_names(word, known, 1);
      refuse("unknown option " + word + (near.empty() ? "" : "; did you mean " + near[0] + "?"));
    }
    const std::string name = names_of(*option).full;
    if (option->value.empty()) {
      if (joined) refuse(name + " takes no value");
    } else if (!joined) {
      if (i + 1 == words.size()) refuse(name + " needs a value: " + option->value);
      value = words[++i];
    }
    if (!values_.emplace(name, value).second) refuse(name + " is given twice");
  }
}

std::string Arguments::value(const std::string& name, const std::string& fallback) const {
  const auto found = values_.find(name);
  return found == values_.end() ? fallback : found->second;
}

std::string Arguments::needed(const std::string& name) const {
  const std::string given = value(name);
  if (given.empty()) refuse(name + " is missing");
  return given;
}

int64_t Arguments::integer(const std::string& name, int64_t fallback, int64_t least, int64_t most) const {
  if (!has(name)) return fallback;
  const std::string text = value(name);
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < least || number > most) {
    refuse(name + " is '" + text + "', needs a whole number from " + std::to_string(least) + " to " +
           std::to_string(most));
  }
  return number;
}

int64_t Arguments::bytes(const std::string& name) const {
  if (!has(name)) return 0;
  const std::string text = value(name);
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  std::string unit(end, text.data() + text.size());
  for (char& c : unit) c = c >= 'a' && c <= 'z' ? char(c - 'a' + 'A') : c;
  double scale = 0;
  if (unit.empty() || unit == "B") scale = 1;
  if (unit == "K" || unit == "KB" || unit == "KIB") scale = 1 << 10;
  if (unit == "M" || unit == "MB" || unit == "MIB") scale = 1 << 20;
  if (unit == "G" || unit == "GB" || unit == "GIB") scale = 1 << 30;
  const double total = number * scale;
  if (error != std::errc() || !std::isfinite(total) || total < 1 || total > 0x1p62) {
    refuse(name + " is '" + text + "', needs an amount of memory such as 6G or 500M");
  }
  return int64_t(total);
}

void Arguments::at_most_one_of(const std::vector<std::string>& names) const {
  std::string first;
  for (const std::string& name : names) {
    if (!has(name)) continue;
    if (!first.empty()) refuse(first + " and " + name + " exclude each other");
    first = name;
  }
}

std::string help_page(const Command& command) {
  std::string page = "sat " + command.name + ": " + command.summary + "\n\nUsage: sat " + command.name + " " +
                     wrapped(command.usage, 11, 86) + "\n";
  if (!command.text.empty()) page.append(1, '\n').append(wrapped(command.text, 0, 96)).append(1, '\n');
  page += "\nOptions:\n";
  for (const Option& option : command.options) {
    std::string left = "  " + option.name + (option.value.empty() ? "" : " " + option.value);
    left += left.size() < 27 ? std::string(28 - left.size(), ' ') : "\n" + std::string(28, ' ');
    page += left + wrapped(option.help, 28, 70) + "\n";
  }
  page += "  -h, --help                this page\n";
  if (!command.examples.empty()) page += "\nExamples:\n" + command.examples;
  return page;
}

}  // namespace sat::cli
