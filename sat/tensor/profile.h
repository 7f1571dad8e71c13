// Profiling ranges: each op says its name and shape; the context's listener, if any, hears how long it took.
#pragma once

#include <chrono>

#include "sat/tensor/context.h"

namespace sat::profile {

/// Times its own life and reports it to Context::on_profile; costs one branch when nobody listens.
class Range {
 public:
  Range(const char* name, const Shape& shape) : name_(name) {
    if (!Context::current().on_profile()) return;
    listening_ = true;
    shape_ = shape;
    start_ = std::chrono::steady_clock::now();
  }
  ~Range() {
    if (!listening_) return;
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    Context::current().on_profile()({name_, shape_, seconds});
  }
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;

 private:
  const char* name_;
  bool listening_ = false;
  Shape shape_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace sat::profile
