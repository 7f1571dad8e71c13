// The `sat` program: which subcommands there are, and what an error looks like from outside.
// Exit status: 0 done, 1 something failed, 2 wrong usage, 130 interrupted.
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "examples/sat/command.h"
#include "examples/sat/nearest.h"
#include "sat/tensor/context.h"

using namespace sat;
using namespace sat::cli;

namespace {

constexpr int kFailed = 1, kWrongUsage = 2, kInterrupted = 130;

std::string program_help(const std::vector<Command>& commands) {
  std::string page =
      "sat: segment medical scans by name, without Python and without a framework\n\n"
      "Usage: sat COMMAND ...\n\nCommands:\n";
  for (const Command& command : commands) {
    page += "  " + command.name + std::string(12 - command.name.size(), ' ') + command.summary + "\n";
  }
  return page +
         "\nsat COMMAND --help explains a command; sat --version tells the version and the processor.\n\nExample:\n"
         "  sat segment scan.nii.gz --modality ct --prompts \"spinal cord,brainstem\" -o results\n";
}

int run(const std::vector<std::string>& words) {
  const std::vector<Command> commands{segment_command(), plan_command(),    prompts_command(),
                                      bank_command(),    convert_command(), inspect_command()};
  if (words.empty()) {
    std::fputs(program_help(commands).c_str(), stderr);
    return kWrongUsage;
  }
  if (words[0] == "--help" || words[0] == "-h" || words[0] == "help") {
    std::fputs(program_help(commands).c_str(), stdout);
    return 0;
  }
  if (words[0] == "--version") {
    std::printf("sat %s (%s)\n", SAT_VERSION, name_of(best_cpu_level()));
    return 0;
  }
  std::vector<std::string> names;
  for (const Command& command : commands) {
    names.push_back(command.name);
    if (command.name != words[0]) continue;
    const Arguments arguments(command, {words.begin() + 1, words.end()});
    if (arguments.wants_help()) {
      std::fputs(help_page(command).c_str(), stdout);
      return 0;
    }
    return command.run(arguments);
  }
  const std::vector<std::string> near = nearest_names(words[0], names, 1);
  throw UsageError("there is no command '" + words[0] + "'" + (near.empty() ? "" : "; did you mean " + near[0] + "?"));
}

}  // namespace

int main(int count, char** arguments) {
  const std::vector<std::string> words(arguments + (count > 0 ? 1 : 0), arguments + count);
  try {
    return run(words);
  } catch (const UsageError& error) {
    const bool in_command = !words.empty() && words[0][0] != '-';
    std::fprintf(stderr, "sat: %s (sat %s--help explains)\n", error.what(), in_command ? (words[0] + " ").c_str() : "");
    return kWrongUsage;
  } catch (const Cancelled&) {
    std::fprintf(stderr, "sat: interrupted\n");
    return kInterrupted;
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "sat: out of memory\n");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "sat: %s\n", error.what());
  }
  return kFailed;
}
