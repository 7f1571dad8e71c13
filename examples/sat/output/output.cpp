// The first error counts: later calls may find the stream's buffer empty.
#include "examples/sat/output/output.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>

#include "examples/sat/output/failure.h"
#include "sat/io/files/posix.h"
#include "sat/io/words/text.h"

namespace sat::cli {

namespace {

int first_error = 0;  // errno of stdout

void note(bool written) {
  if (!written && first_error == 0) first_error = errno == 0 ? EIO : errno;
}

}  // namespace

bool guard_standard_streams() {
  for (int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(stream, F_GETFD) >= 0) continue;
    const int unusable = stream == STDIN_FILENO ? O_WRONLY : O_RDONLY;
    if (::open("/dev/null", unusable) != stream) return false;  // the lowest that is free, which this one is
  }
  return true;
}

void ignore_output_signals() {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
}

void print(const std::string& text) {
  errno = 0;
  note(std::fwrite(text.data(), 1, text.size(), stdout) == text.size());
}

void print_now(const std::string& text) {
  print(text);
  errno = 0;
  note(std::fflush(stdout) == 0);
}

void print_line(const std::string& text) { print(printable(text) + "\n"); }

void say(const std::string& text) { std::fprintf(stderr, "%s\n", printable(text).c_str()); }

void finish_output() {
  errno = 0;
  note(std::fflush(stdout) == 0);
  if (first_error == EPIPE) throw ClosedPipe("cannot write to standard output: " + system_reason(EPIPE));
  if (first_error != 0)
    throw Failure(FailureKind::output, "cannot write to standard output: " + system_reason(first_error));
}

}  // namespace sat::cli
