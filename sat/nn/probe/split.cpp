// Splits by the hash of names: adding an image does not move the others.
#include "sat/nn/probe/split.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "sat/nn/evaluation/random_stream.h"
#include "sat/tensor/error.h"

namespace sat {

namespace {

uint64_t hash_of(const std::string& name, uint64_t seed) {
  uint64_t hash = 0xCBF29CE484222325;  // FNV-1a, 64 bits
  for (const char c : name) hash = (hash ^ uint8_t(c)) * 0x100000001B3;
  return RandomStream(hash, seed).next();
}

}  // namespace

std::vector<int64_t> number_groups(const std::vector<std::string>& groups) {
  std::unordered_map<std::string_view, int64_t> numbers;
  std::vector<int64_t> found;
  for (const std::string& group : groups) {
    found.push_back(numbers.emplace(group, int64_t(numbers.size())).first->second);
  }
  return found;
}

std::vector<uint8_t> hold_out(const std::vector<std::string>& groups, double share, uint64_t seed) {
  SAT_CHECK(share > 0 && share < 1, "a share of ", share, " to hold out, it lies between 0 and 1");
  std::unordered_map<std::string_view, int64_t> sizes;
  for (const std::string& group : groups) ++sizes[group];
  SAT_CHECK(sizes.size() >= 2, groups.size(), " rows in ", sizes.size(), " group; to hold some out takes two groups");
  std::vector<std::pair<uint64_t, std::string_view>> order;
  for (const auto& entry : sizes) order.emplace_back(hash_of(std::string(entry.first), seed), entry.first);
  std::sort(order.begin(), order.end());
  const double wanted = share * double(groups.size());
  std::unordered_map<std::string_view, bool> held;
  int64_t rows = 0;
  for (size_t i = 0; i + 1 < order.size() && (i == 0 || double(rows) < wanted); ++i) {
    held[order[i].second] = true;
    rows += sizes[order[i].second];
  }
  std::vector<uint8_t> found;
  for (const std::string& group : groups) found.push_back(held.count(group) ? 1 : 0);
  return found;
}

}  // namespace sat
