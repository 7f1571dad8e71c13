// Cross-entropy and its pieces on the CPU.
#include <algorithm>
#include <cmath>

#include "sat/tensor/cpu/backend.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

void CpuBackend::scale_by_exp(Tensor& y, const Tensor& x, const Tensor& t) {
  const float *from = x.address<float>(), *exponent = t.address<float>();
  float* to = y.address<float>();
  parallel_for(x.numel(), 1 << 15, [&](int64_t first, int64_t last) {
    const float factor = std::exp(exponent[0]);
    for (int64_t i = first; i < last; ++i) to[i] = factor * from[i];
  });
}

void CpuBackend::cross_entropy(Tensor& loss, Tensor& dlogits, const Tensor& logits, const Tensor& targets,
                               const Tensor& weights, const Tensor& excluded) {
  const int64_t rows = logits.shape[0], classes = logits.shape[1];
  const float *z = logits.address<float>(), *t = targets.address<float>(), *w = weights.address<float>();
  const uint8_t* out = excluded.empty() ? nullptr : excluded.address<uint8_t>();
  float* to = dlogits.empty() ? nullptr : dlogits.address<float>();
  std::vector<double> losses(size_t(rows), 0.);
  parallel_for(rows, 4, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      const int64_t at = row * classes;
      const auto there = [&](int64_t k) { return !out || out[at + k] == 0; };
      double largest = -INFINITY, total = 0, wanted = 0, sum = 0;
      for (int64_t k = 0; k < classes; ++k) largest = there(k) ? std::max(largest, double(z[at + k])) : largest;
      for (int64_t k = 0; k < classes; ++k) total += there(k) ? std::exp(double(z[at + k]) - largest) : 0;
      const double log_total = largest + std::log(total);
      for (int64_t k = 0; k < classes; ++k) {
        if (!there(k)) continue;
        sum += double(t[at + k]) * (log_total - double(z[at + k]));
        wanted += double(t[at + k]);
      }
      losses[size_t(row)] = double(w[row]) * sum;
      for (int64_t k = 0; to && k < classes; ++k) {
        const double share = there(k) ? std::exp(double(z[at + k]) - log_total) * wanted - double(t[at + k]) : 0;
        to[at + k] = float(double(w[row]) * share);
      }
    }
  });
  if (Context::current().dry()) return;
  double sum = 0;
  for (const double row : losses) sum += row;
  loss.data<float>()[0] = float(sum);
}

}  // namespace sat::cpu
