// The `sat` program: what an error looks like from outside.
// Exit status: 0 done, 1 something failed, 2 wrong usage, 130 interrupted.
#include <cstdio>
#include <exception>
#include <new>

#include "examples/sat/command_line.h"
#include "sat/tensor/context.h"

namespace sat::cli {

namespace {

constexpr int kFailed = 1, kWrongUsage = 2, kInterrupted = 130;

int run(const Page& page) {
  std::fputs(page.text.c_str(), page.wanted ? stdout : stderr);
  return page.wanted ? 0 : kWrongUsage;
}

int run_program(int count, const char* const* words) {
  try {
    return std::visit([](const auto& request) { return run(request); }, read_command_line(count, words));
  } catch (const UsageError& error) {
    std::fprintf(stderr, "sat: %s (--help explains)\n", error.what());
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

}  // namespace

}  // namespace sat::cli

int main(int count, char** words) { return sat::cli::run_program(count, words); }
