// The `sat` program: what an error looks like from outside, and with which status it ends (kStatuses,
// command_line/command_line.cpp).
#include <cstdio>
#include <exception>
#include <new>

#include "examples/sat/command_line/command_line.h"
#include "examples/sat/interrupt.h"
#include "examples/sat/output/failure.h"
#include "examples/sat/output/output.h"
#include "sat/tensor/context.h"

namespace sat::cli {

namespace {

int run(const Page& page) {
  if (page.wanted) {
    print(page.text);
    return kDone;
  }
  std::fputs(page.text.c_str(), stderr);
  return kWrongUsage;
}

std::string line_of(FailureKind kind, const std::string& message, const std::vector<std::string>& paths) {
  return Json::object().set("error", failure_json(kind, message, paths)).dump() + "\n";
}

int status_of(FailureKind kind) {
  return kind == FailureKind::usage ? kWrongUsage : kind == FailureKind::interrupted ? interrupted_status() : kFailed;
}

/// Says what went wrong on stderr, and on stdout where JSON goes there. Where memory is at an end, a message may be
/// too.
int report(const std::exception& error, bool as_json, const std::vector<std::string>& paths) {
  const FailureKind kind = kind_of(error);
  try {
    const std::string message = message_of(error);
    const char* more = kind == FailureKind::usage ? " (--help explains)" : "";
    std::fprintf(stderr, "sat: %s%s\n", message.c_str(), more);
    if (as_json) print_now(line_of(kind, message, paths));
  } catch (const std::bad_alloc&) {
    std::fputs("sat: out of memory\n", stderr);
    if (as_json)
      std::fputs(R"({"error":{"kind":"memory","message":"out of memory","file":null}})"
                 "\n",
                 stdout);
  }
  return status_of(kind);
}

int run_program(int count, const char* const* words) {
  const bool as_json = wants_json(count, words);
  std::vector<std::string> paths;
  try {
    end_when_interrupted(as_json ? line_of(FailureKind::interrupted, "interrupted", {}) : "");
    const Request request = read_command_line(count, words);
    paths = paths_of(request);
    const int status = std::visit([](const auto& one) { return run(one); }, request);
    finish_output();
    return status;
  } catch (const ClosedPipe&) {
    return kFailed;
  } catch (const std::exception& error) {
    return report(error, as_json, paths);
  }
}

}  // namespace

}  // namespace sat::cli

int main(int count, char** words) {
  if (!sat::cli::guard_standard_streams()) return sat::cli::kFailed;
  sat::cli::ignore_output_signals();
  return sat::cli::run_program(count, words);
}
