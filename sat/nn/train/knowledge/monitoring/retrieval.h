// Private. How well two sides of pairs find each other, which knowledge pre-training watches (spec m.4).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "sat/io/words/json.h"
#include "sat/tensor/tensor.h"

namespace sat {

inline constexpr std::array<int64_t, 3> kRetrievalRanks{1, 5, 10};

/// Shares of the rows whose own is among the first 1, 5 and 10 of the other side, by similarity.
struct Retrieval {
  std::array<double, 3> forth{}, back{};  // u finds v, v finds u
  int64_t pairs = 0;
  double mean_at_one() const { return (forth[0] + back[0]) / 2; }
};

/// u, v [N, C] rows of length 1. What has the row's label counts as its own: its rank is the number of rows of other
/// labels that are more similar than the most similar one of its own. Work: 4 N^2 C flop.
Retrieval retrieval_of(const Tensor& u, const Tensor& v, const std::vector<std::string>& labels);

Json to_json(const Retrieval& retrieval);

}  // namespace sat
