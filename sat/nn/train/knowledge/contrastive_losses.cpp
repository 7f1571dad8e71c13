// Contrastive losses as two cross-entropies, of rows and of columns.
#include "sat/nn/train/knowledge/contrastive_losses.h"

#include <cmath>
#include <map>

#include "sat/tensor/context.h"

namespace sat {

namespace {

/// Half the mean over rows, of l and of its transpose.
Tensor both_ways(const Tensor& u, const Tensor& v, const Tensor& t, const Tensor& targets, const Tensor& excluded) {
  SAT_CHECK(u.shape.rank() == 2 && u.shape == v.shape && u.shape[0] > 0, "contrastive loss: rows ", u.shape, " and ",
            v.shape, ", need two [N, C] with N > 0");
  const int64_t rows = u.shape[0];
  const Tensor weights = to_compute_device(full({rows}, float(0.5 / double(rows))));
  const Tensor logits = scale_by_exp(product_transposed(u, v), t);
  return add(cross_entropy(logits, targets, weights, excluded),
             cross_entropy(transpose(logits), targets, weights, excluded));
}

}  // namespace

std::vector<int64_t> label_numbers(const std::vector<std::string>& labels) {
  std::map<std::string, int64_t> known;
  std::vector<int64_t> numbers;
  for (const std::string& label : labels) numbers.push_back(known.emplace(label, int64_t(known.size())).first->second);
  return numbers;
}

Tensor text_targets(const std::vector<std::string>& labels) {
  const auto count = int64_t(labels.size());
  const std::vector<int64_t> numbers = label_numbers(labels);
  std::map<int64_t, int64_t> times;
  for (int64_t number : numbers) ++times[number];
  Tensor targets = zeros({count, count});
  if (Context::current().dry()) return to_compute_device(targets);
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t j = 0; j < count; ++j) {
      if (numbers[size_t(i)] != numbers[size_t(j)]) continue;
      targets.data<float>()[i * count + j] = float(1 / std::sqrt(double(times[numbers[size_t(j)]])));
    }
  }
  return to_compute_device(targets);
}

Tensor text_text_loss(const Tensor& u, const Tensor& v, const Tensor& targets, const Tensor& t) {
  return both_ways(u, v, t, targets, {});
}

Tensor text_atlas_loss(const Tensor& u, const Tensor& v, const std::vector<int64_t>& labels, const Tensor& t) {
  const auto count = int64_t(labels.size());
  SAT_CHECK(u.shape.rank() == 2 && u.shape[0] == count, "contrastive loss: ", count, " labels for rows ", u.shape);
  Tensor targets = zeros({count, count}), excluded = zeros({count, count}, DType::u8);
  for (int64_t i = 0; i < count && !Context::current().dry(); ++i) {
    targets.data<float>()[i * count + i] = 1;
    for (int64_t j = 0; j < count; ++j) {
      const bool same = i != j && labels[size_t(i)] == labels[size_t(j)];
      excluded.data<uint8_t>()[i * count + j] = same ? 1 : 0;
    }
  }
  return both_ways(u, v, t, to_compute_device(targets), to_compute_device(excluded));
}

}  // namespace sat
