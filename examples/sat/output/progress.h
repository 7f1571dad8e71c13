// What the user sees while a case runs: a bar with the remaining time on a terminal, as wide as that allows, and plain
// lines elsewhere.
// Writes to stderr only; results are printed by segment.cpp.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

#include "sat/nn/run/session.h"

namespace sat::cli {

/// Where several cases are under way at once, only lines that stay are shown, and any thread may write them.
class ProgressView {
 public:
  enum class Form : uint8_t { bar, lines };
  explicit ProgressView(bool quiet, Form form = Form::bar);
  ~ProgressView() { clear(); }

  void start(const std::string& title);  // of a case, such as "ct_001 (2 of 5)"
  void update(const Progress& progress);
  /// So many of all things done, "images" for example; a note comes last.
  void count(const char* stage, const char* things, int64_t done, int64_t all, const std::string& note = "");
  void stage(const std::string& name);  // without a fraction, such as "writing"
  void line(const std::string& text);   // a line that stays
  void clear();                         // takes the bar away

 private:
  using Clock = std::chrono::steady_clock;
  void part(const char* stage, const char* things, int64_t done, int64_t all, double fraction,
            const std::string& note = "");
  void show(const std::string& title, const std::string& state, double part = -1);  // without a part: no bar

  std::mutex mutex_;  // of lines
  bool quiet_, terminal_;
  Form form_;
  std::string title_;
  Clock::time_point started_, shown_;
  double rate_start_ = 0;  // fraction when the network began
  Clock::time_point network_started_;
  int quarter_ = -1;  // last one written as a plain line
  bool bar_ = false;
  std::string last_stage_;
};

/// "1:05" or "2:03:04"
std::string clock_time(double seconds);

}  // namespace sat::cli
