// Memory that runs out where nobody can catch it: while static objects are made (CLI11 has some), or in a function that
// promises not to throw. The program then ends as it does everywhere else: with a sentence and a status, not with a
// signal. All other reasons to end at once still abort.
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>

namespace sat::cli {

namespace {

bool memory_ran_out() {
  const std::exception_ptr reason = std::current_exception();
  if (!reason) {  // not even the exception found room
    void* const some = std::malloc(sizeof(std::bad_alloc));
    std::free(some);
    return some == nullptr;
  }
  try {
    std::rethrow_exception(reason);
  } catch (const std::bad_alloc&) {
    return true;
  } catch (...) {
    return false;
  }
}

[[noreturn]] void end() {
  if (!memory_ran_out()) std::abort();
  constexpr const char* kSentence = "sat: out of memory\n";
  if (::write(STDERR_FILENO, kSentence, std::strlen(kSentence)) < 0) std::abort();
  ::_exit(EXIT_FAILURE);
}

/// Before all static objects of the program.
[[gnu::constructor(101)]] void watch_memory() { std::set_terminate(end); }

}  // namespace

}  // namespace sat::cli
