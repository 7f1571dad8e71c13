// The one exception type, and the two ways to throw it. Every message carries the numbers that explain it.
// Knows nothing else; every other file may include this one.
#pragma once

#include <locale>
#include <sstream>
#include <stdexcept>

namespace sat {

/// Thrown by the whole library for anything that is wrong with an input, a file or a request.
/// what() is one sentence for a person: what came, and what would have fit.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Thrown when the caller's cancel callback asked to stop; nothing is wrong.
class Cancelled : public Error {
 public:
  using Error::Error;
};

/// Thrown when memory does not suffice: the machine's, a device's, or what a limit leaves.
class MemoryError : public Error {
 public:
  using Error::Error;
};

/// Throws E, an Error, with all parts streamed into one message.
template <class E, class... Parts>
[[noreturn]] void fail_as(const Parts&... parts) {
  std::ostringstream text;
  text.imbue(std::locale::classic());
  (text << ... << parts);
  throw E(text.str());
}

/// Throws Error with all parts streamed into one message.
template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  fail_as<Error>(parts...);
}

}  // namespace sat

/// Throws Error unless the condition holds; the remaining arguments are streamed into the message.
#define SAT_CHECK(condition, ...)               \
  do {                                          \
    if (!(condition)) ::sat::fail(__VA_ARGS__); \
  } while (0)
