// The bar is redrawn at most ten times a second; plain lines come once a stage and every quarter.
#include "examples/sat/output/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "examples/sat/output/output.h"
#include "examples/sat/output/terminal.h"
#include "sat/io/words/text.h"

namespace sat::cli {

namespace {

constexpr int kBarWidth = 28, kLeastBar = 6, kLeastTitle = 10;  // columns

/// "title [###...] state", "title: state" without a part, or less of it: a line that is longer than the terminal would
/// be left behind, not redrawn.
std::string fitted(const std::string& title, const std::string& state, double part, int columns) {
  const int most = columns - 1;  // the last column stays free: some terminals go on to the next line there
  const int rest = most - width_of(state), bar = std::min(kBarWidth, rest - 4 - std::min(width_of(title), kLeastTitle));
  if (part < 0) return shortened(shortened(title, rest - 2) + ": " + state, most);
  if (bar < kLeastBar) return shortened(shortened(title, rest - 1) + " " + state, most);
  const int full = std::clamp(int(std::lround(bar * part)), 0, bar);
  return shortened(title, rest - 4 - bar) + " [" + std::string(size_t(full), '#') +
         std::string(size_t(bar - full), '.') + "] " + state;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

std::string clock_time(double seconds) {
  const long long total = std::llround(std::clamp(seconds, 0.0, 1e7));
  char text[32];
  if (total >= 3600) {
    std::snprintf(text, sizeof text, "%lld:%02lld:%02lld", total / 3600, total / 60 % 60, total % 60);
  } else {
    std::snprintf(text, sizeof text, "%lld:%02lld", total / 60, total % 60);
  }
  return text;
}

ProgressView::ProgressView(bool quiet, Form form) : quiet_(quiet), terminal_(can_redraw(STDERR_FILENO)), form_(form) {}

void ProgressView::start(const std::string& title) {
  if (form_ == Form::lines) return;
  title_ = title;
  started_ = Clock::now();
  quarter_ = -1;
  last_stage_.clear();
}

void ProgressView::show(const std::string& title, const std::string& state, double part) {
  if (quiet_) return;
  if (!terminal_) {
    say(title + ": " + state);
    return;
  }
  const std::string line = fitted(printable(title), printable(state), part, columns_of(STDERR_FILENO));
  std::fprintf(stderr, "\r\033[K%s", line.c_str());
  std::fflush(stderr);
  bar_ = true;
}

void ProgressView::clear() {
  if (!bar_) return;
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
  bar_ = false;
}

void ProgressView::line(const std::string& text) {
  if (quiet_) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  clear();
  say(text);
}

void ProgressView::stage(const std::string& name) {
  if (form_ == Form::lines) return;
  last_stage_ = name;
  show(title_, name);
}

void ProgressView::update(const Progress& progress) {
  if (form_ == Form::lines) return;
  if (progress.windows == 0) {
    if (last_stage_ != progress.stage) stage(progress.stage);
    return;
  }
  part(progress.stage, "windows", progress.window, progress.windows, progress.fraction);
}

void ProgressView::count(const char* stage, const char* things, int64_t done, int64_t all, const std::string& note) {
  if (form_ == Form::bar) part(stage, things, done, all, double(done) / double(all), note);
}

void ProgressView::part(const char* stage, const char* things, int64_t done, int64_t all, double fraction,
                        const std::string& note) {
  if (last_stage_ != stage) {
    last_stage_ = stage;
    network_started_ = Clock::now();
    rate_start_ = fraction;
    shown_ = {};
  }
  const double elapsed = seconds_since(network_started_), gained = fraction - rate_start_;
  std::string left;
  if (done < all && gained > 0.01 && elapsed > 0.5)
    left = ", " + clock_time(elapsed * (1 - fraction) / gained) + " left";
  const bool last = done == all;
  const int percent = last ? 100 : std::min(int(100 * fraction), 99);
  const std::string state = std::to_string(done) + " of " + std::to_string(all) + " " + things + ", " +
                            std::to_string(percent) + " %" + left + (note.empty() ? "" : ", " + note);
  if (!terminal_) {
    const int quarter = last ? 4 : std::min(int(4 * fraction), 3);
    if (quarter > quarter_) show(title_, state);
    quarter_ = std::max(quarter, quarter_);
    return;
  }
  if (!last && seconds_since(shown_) < 0.1) return;
  shown_ = Clock::now();
  show(title_, state, fraction);
}

}  // namespace sat::cli
