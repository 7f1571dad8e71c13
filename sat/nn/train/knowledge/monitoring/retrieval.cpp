// Ranks by similarity, a block of rows at a time.
#include "sat/nn/train/knowledge/monitoring/retrieval.h"

#include <algorithm>
#include <cmath>

#include "sat/nn/train/knowledge/contrastive_losses.h"
#include "sat/tensor/ops.h"

namespace sat {

namespace {

constexpr int64_t kRows = 256;  // whose similarities are there together

std::array<double, 3> found(const Tensor& u, const Tensor& v, const std::vector<int64_t>& labels) {
  const int64_t count = u.shape[0];
  std::array<double, 3> shares{};
  for (int64_t first = 0; first < count; first += kRows) {
    const int64_t last = std::min(count, first + kRows);
    const Tensor similar = to_host(product_transposed(u.slice(first, last), v));
    for (int64_t row = first; row < last; ++row) {
      const float* to = similar.data<float>() + (row - first) * count;
      float best = -INFINITY;
      for (int64_t j = 0; j < count; ++j) {
        if (labels[size_t(j)] == labels[size_t(row)]) best = std::max(best, to[j]);
      }
      int64_t rank = 0;
      for (int64_t j = 0; j < count; ++j) {
        rank += labels[size_t(j)] != labels[size_t(row)] && to[j] > best ? 1 : 0;
      }
      for (size_t k = 0; k < shares.size(); ++k) shares[k] += rank < kRetrievalRanks[k] ? 1 / double(count) : 0;
    }
  }
  return shares;
}

}  // namespace

Retrieval retrieval_of(const Tensor& u, const Tensor& v, const std::vector<std::string>& labels) {
  SAT_CHECK(u.shape.rank() == 2 && u.shape == v.shape && u.shape[0] == int64_t(labels.size()), "retrieval: rows ",
            u.shape, " and ", v.shape, " with ", labels.size(), " labels");
  const std::vector<int64_t> numbers = label_numbers(labels);
  return {found(u, v, numbers), found(v, u, numbers), u.shape[0]};
}

Json to_json(const Retrieval& retrieval) {
  Json json = Json::object({{"pairs", retrieval.pairs}});
  for (size_t k = 0; k < kRetrievalRanks.size(); ++k) {
    json.set("r" + std::to_string(kRetrievalRanks[k]), Json::array({retrieval.forth[k], retrieval.back[k]}));
  }
  return json;
}

}  // namespace sat
