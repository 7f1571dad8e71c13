// Private. Profiling ranges: each op says its name and shape; the context's listener, if any, hears how long it took.
// And the stopwatch that whoever reports times uses.
#pragma once

#include <chrono>

#include "sat/tensor/context.h"

namespace sat::profile {

/// Seconds since it was made, or since the last lap.
class Stopwatch {
 public:
  double lap() {
    const auto now = std::chrono::steady_clock::now();
    const double seconds = std::chrono::duration<double>(now - last_).count();
    last_ = now;
    return seconds;
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

/// The op that runs on this thread, for messages.
const char* current_op();

/// Names the op that runs, times its own life and reports it to Context::on_profile; costs one branch when nobody
/// listens.
class Range {
 public:
  Range(const char* name, const Shape& shape) : name_(name), outer_(enter(name)) {
    if (!Context::current().on_profile()) return;
    listening_ = true;
    shape_ = shape;
    watch_.lap();
  }
  ~Range() {
    enter(outer_);
    if (!listening_) return;
    try {
      Context::current().on_profile()({name_, shape_, watch_.lap()});
    } catch (...) {  // a listener that runs out of memory loses a line; the result does not need it
    }
  }
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;

 private:
  static const char* enter(const char* name);  // returns the op that ran before

  const char *name_, *outer_;
  bool listening_ = false;
  Shape shape_;
  Stopwatch watch_;
};

}  // namespace sat::profile
