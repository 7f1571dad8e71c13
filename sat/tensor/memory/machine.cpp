// Control groups are looked up where systems mount them. A container may see its own group as the root of the mount
// while /proc tells the path outside; so every folder from the path up to the mount is asked, those that exist.
#include "sat/tensor/memory/machine.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <functional>
#include <limits>
#include <thread>
#include <vector>

namespace sat {

namespace {

constexpr int kMostProcessors = 1 << 16;

struct Group {
  std::string mount, path;  // "/sys/fs/cgroup/memory", "/job/step"
  bool second = false;      // version 2
};

/// The groups of this process that can limit `controller` ("cpu", "memory").
std::vector<Group> groups_of(const std::string& root, const std::string& controller) {
  std::vector<Group> groups;
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {  // "4:cpu,cpuacct:/job/step", in version 2 "0::/job/step"
    const size_t first = line.find(':'), second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string path = line.substr(second + 1);
    if (path.find("/..") != std::string::npos) path.clear();  // lies outside of what is mounted
    const std::string base = root + "/sys/fs/cgroup";
    if (controllers.empty()) {
      groups.push_back({base, path, true});
      groups.push_back({base + "/unified", path, true});
    } else if (("," + controllers + ",").find("," + controller + ",") != std::string::npos) {
      groups.push_back({base + "/" + controllers, path});
      if (controllers != controller) groups.push_back({base + "/" + controller, path});
    }
  }
  return groups;
}

/// Calls `look` with each folder from the group's up to its mount.
void each_folder(const Group& group, const std::function<void(const std::string&)>& look) {
  for (std::string path = group.path;; path.resize(path.find_last_of('/'))) {
    while (!path.empty() && path.back() == '/') path.pop_back();
    look(group.mount + path);
    if (path.find('/') == std::string::npos) return;
  }
}

/// The words of a file's first line, none where it cannot be read.
std::vector<std::string> words_in(const std::string& path) {
  std::ifstream file(path);
  std::vector<std::string> words;
  for (std::string word; words.size() < 8 && file >> word;) words.push_back(word);
  return words;
}

/// A whole number of at least 1, or 0 for anything else ("max", "-1").
int64_t positive(const std::string& word) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error == std::errc::result_out_of_range && word[0] != '-') return std::numeric_limits<int64_t>::max();
  return error == std::errc() && end == word.data() + word.size() && value > 0 ? value : 0;
}

int affinity() {
  for (int most = 1024; most <= kMostProcessors; most *= 2) {
    cpu_set_t* set = CPU_ALLOC(size_t(most));
    if (!set) break;
    const size_t bytes = CPU_ALLOC_SIZE(size_t(most));
    const int count = ::sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (count > 0) return count;
  }
  return int(std::thread::hardware_concurrency());
}

}  // namespace

double processor_quota(const std::string& root) {
  double least = 0;
  for (const Group& group : groups_of(root, "cpu")) {
    each_folder(group, [&](const std::string& folder) {
      std::vector<std::string> words = words_in(folder + (group.second ? "/cpu.max" : "/cpu.cfs_quota_us"));
      if (!group.second && !words.empty()) {
        const std::vector<std::string> period = words_in(folder + "/cpu.cfs_period_us");
        words.insert(words.end(), period.begin(), period.end());
      }
      if (words.size() < 2 || positive(words[0]) == 0 || positive(words[1]) == 0) return;
      const double quota = double(positive(words[0])) / double(positive(words[1]));
      if (least == 0 || quota < least) least = quota;
    });
  }
  return least;
}

int usable_processors(const std::string& root) {
  const double quota = processor_quota(root);
  const int allowed = quota > 0 ? int(std::ceil(std::min(quota, double(kMostProcessors)))) : kMostProcessors;
  return std::max(1, std::min(affinity(), allowed));
}

MemoryLimit memory_limit(const std::string& root) {
  MemoryLimit limit;
  const auto consider = [&limit](int64_t bytes, const std::string& source) {
    if (bytes > 0 && (limit.bytes == 0 || bytes < limit.bytes)) limit = {bytes, source};
  };
  const std::string machine = root + "/proc/meminfo";
  const std::vector<std::string> total = words_in(machine);  // "MemTotal: 24689764 kB"
  if (total.size() >= 2 && total[0] == "MemTotal:" && positive(total[1]) < (int64_t(1) << 52)) {
    consider(positive(total[1]) * 1024, machine);
  }
  for (const Group& group : groups_of(root, "memory")) {
    each_folder(group, [&](const std::string& folder) {
      const std::string file = folder + (group.second ? "/memory.max" : "/memory.limit_in_bytes");
      const std::vector<std::string> words = words_in(file);
      if (!words.empty()) consider(positive(words[0]), file);
    });
  }
  return limit;
}

}  // namespace sat
