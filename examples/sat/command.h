// What a subcommand of the program is, and how its arguments are read.
// Knows no subcommand (main.cpp lists them).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "sat/tensor/error.h"

namespace sat::cli {

/// The arguments make no sense; the program ends with status 2. Everything else that goes wrong ends with 1.
class UsageError : public Error {
 public:
  using Error::Error;
};

struct Option {
  std::string name;   // "--prompts"; with a short form "-o, --output"
  std::string value;  // what the help calls its value; empty for a switch
  std::string help;
};

class Arguments;

struct Command {
  std::string name, summary;  // one line in the program's help
  std::string usage;          // after "sat NAME "
  std::string text;           // a paragraph, may be empty
  std::vector<Option> options;
  std::string examples;                    // lines, may be empty
  int (*run)(const Arguments& arguments);  // returns the exit status
};

/// The words after "sat NAME", checked against the command's options.
class Arguments {
 public:
  /// Throws UsageError for unknown options (with the nearest known), missing values, and options given twice.
  Arguments(const Command& command, const std::vector<std::string>& words);

  bool has(const std::string& name) const { return values_.count(name) != 0; }
  std::string value(const std::string& name, const std::string& fallback = {}) const;
  std::string needed(const std::string& name) const;  // throws UsageError when absent
  int64_t integer(const std::string& name, int64_t fallback, int64_t least, int64_t most) const;
  int64_t bytes(const std::string& name) const;  // "6G", "500M", "1.5G", "4096"; 0 when absent
  const std::vector<std::string>& words() const { return words_; }
  const Command& command() const { return command_; }
  bool wants_help() const { return help_; }

  /// Throws UsageError when more than one of these options is given.
  void at_most_one_of(const std::vector<std::string>& names) const;

 private:
  const Command& command_;
  std::map<std::string, std::string> values_;
  std::vector<std::string> words_;  // those that belong to no option
  bool help_ = false;
};

/// The help page of one command.
std::string help_page(const Command& command);

// The subcommands, one file each.
Command segment_command();
Command bank_command();
Command prompts_command();
Command convert_command();
Command inspect_command();
Command plan_command();

}  // namespace sat::cli
