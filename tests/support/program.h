// The `sat` program from outside: starting it with its output in files. For tests that are built beside it only.
#pragma once

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "tests/support/golden.h"

namespace sat::test {

using Words = std::vector<std::string>;

/// A child becomes the program.
[[noreturn]] inline void become(const Words& words) {
  std::vector<char*> arguments{const_cast<char*>("sat")};
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  ::execv(SAT_PROGRAM, arguments.data());
  ::_exit(127);
}

/// Starts the program with its output in files; returns the process. `before` runs in it first, for example to close
/// something.
inline pid_t start(const Words& words, const std::string& out, const std::string& err,
                   const std::function<void()>& before = {}) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  const int to_out = ::open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const int to_err = ::open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  ::dup2(to_out, 1);
  ::dup2(to_err, 2);
  if (before) before();
  become(words);
}

inline int wait_for(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

struct Ran {
  int status;
  std::string out, err;
};

inline Ran sat_run(const Words& words, const std::function<void()>& before = {}) {
  const TempDir folder;
  const int status = wait_for(start(words, folder / "out", folder / "err", before));
  return {status, read_text(folder / "out"), read_text(folder / "err")};
}

/// What lies in a folder, sorted.
inline Words names_in(const std::string& folder) {
  Words names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace sat::test
