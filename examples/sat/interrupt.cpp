// A signal handler may do hardly anything: it sets a flag, or writes words that are ready and ends.
#include "examples/sat/interrupt.h"

#include <unistd.h>

#include <atomic>
#include <csignal>

#include "examples/sat/output/failure.h"

namespace sat::cli {

namespace {

constexpr char kMessage[] = "sat: interrupted\n";
std::atomic<int> signal_that_came{0};
std::string words_to_stdout;  // set before the handler that reads it

static_assert(std::atomic<int>::is_always_lock_free);

extern "C" void note_signal(int signal) { signal_that_came = signal; }

extern "C" void end_program(int signal) {
  [[maybe_unused]] ssize_t written = ::write(STDERR_FILENO, kMessage, sizeof kMessage - 1);
  if (!words_to_stdout.empty()) written = ::write(STDOUT_FILENO, words_to_stdout.data(), words_to_stdout.size());
  ::_exit(kOfSignal + signal);
}

void handle_with(void (*handler)(int), int flags) {
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before {
    }, action{};
    if (::sigaction(signal, nullptr, &before) != 0 || before.sa_handler == SIG_IGN) continue;
    action.sa_handler = handler;
    action.sa_flags = flags;
    ::sigaction(signal, &action, nullptr);
  }
}

}  // namespace

void end_when_interrupted(const std::string& last_words) {
  words_to_stdout = last_words;
  handle_with(end_program, 0);
}

void watch_for_interrupts() { handle_with(note_signal, int(SA_RESETHAND) | SA_RESTART); }

bool interrupted() { return signal_that_came != 0; }

int interrupted_status() { return kOfSignal + (interrupted() ? signal_that_came.load() : SIGINT); }

}  // namespace sat::cli
