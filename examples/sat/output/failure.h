// What went wrong, sorted by what a person or a script can do about it.
// Knows errors and their words; how they are shown is main.cpp's and segment.cpp's.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sat/io/words/json.h"
#include "sat/tensor/error.h"

namespace sat::cli {

enum class FailureKind : uint8_t {
  usage,        // the request makes no sense
  input,        // a file, a word or a value that is given
  memory,       // too little of it
  device,       // CUDA
  output,       // what cannot be written
  interrupted,  // by a signal
  internal,     // a fault of the program
};
const char* name_of(FailureKind kind);  // "usage", "input", ...

/// An error whose kind is known where it is thrown.
class Failure : public Error {
 public:
  Failure(FailureKind kind, const std::string& message) : Error(message), kind_(kind) {}
  FailureKind kind() const { return kind_; }

 private:
  FailureKind kind_;
};

/// The request makes no sense. Everything else that goes wrong ends with another status (status_of()).
class UsageError : public Failure {
 public:
  explicit UsageError(const std::string& message) : Failure(FailureKind::usage, message) {}
};

/// The reader of stdout went away, which nobody needs to be told.
class ClosedPipe : public Failure {
 public:
  explicit ClosedPipe(const std::string& message) : Failure(FailureKind::output, message) {}
};

/// Runs `body`; a plain Error that it throws becomes a Failure of this kind. Other
/// Failures, Cancelled and MemoryError pass unchanged.
template <class Body>
auto failing_as(FailureKind kind, Body body) {
  try {
    return body();
  } catch (const Failure&) {
    throw;
  } catch (const Cancelled&) {
    throw;
  } catch (const MemoryError&) {
    throw;
  } catch (const Error& error) {
    throw Failure(kind, error.what());
  }
}

FailureKind kind_of(const std::exception& error);
/// One line, printable.
std::string message_of(const std::exception& error);

/// {"kind", "message", "file"}: the same wherever JSON was asked for. `file` is the longest of the paths that the
/// message names, or null.
Json failure_json(FailureKind kind, const std::string& message, const std::vector<std::string>& paths);

constexpr int kDone = 0, kFailed = 1, kSomeFailed = 2, kWrongUsage = 64, kOfSignal = 128;

}  // namespace sat::cli
