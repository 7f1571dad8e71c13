// Gradients of attention, its bias, and layer norms.
#include <utility>

#include "sat/tensor/autograd/gradients.h"
#include "sat/tensor/ops/check.h"

namespace sat {

Tape::Backward attention_gradient(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads,
                                  const Segments& segments, const Tensor& bias, const Dropout& dropped) {
  return [=](Tape& tape, const Tensor& dy) {
    Tensor dq = empty_like(q), dk = empty_like(k), dv = empty_like(v), dbias;
    if (bias.history != 0) dbias = empty_like(bias);
    backend_of("attention", {&q, &k, &v, &dy})
        .attention_gradient(dq, dk, dv, dbias, dy, q, k, v, heads, segments, bias, dropped);
    tape.add(q, std::move(dq));
    tape.add(k, std::move(dk));
    tape.add(v, std::move(dv));
    if (bias.history != 0) tape.add(bias, std::move(dbias));
  };
}

Tape::Backward attention_bias_gradient(const Tensor& table, const std::vector<int64_t>& buckets,
                                       const std::vector<int64_t>& first) {
  return [=](Tape& tape, const Tensor& dy) {
    Tensor dtable = empty_like(table);
    backend_of("attention_bias", {&table, &dy}).attention_bias_gradient(dtable, dy, buckets, first);
    tape.add(table, std::move(dtable));
  };
}

Tape::Backward layer_norm_gradient(const Tensor& x, const Tensor& gain, const Tensor& bias, float eps) {
  return [=](Tape& tape, const Tensor& dy) {
    Tensor dx = empty_like(x), dgain, dbias;
    if (gain.history != 0 || bias.history != 0) {
      dgain = empty_like(gain);
      dbias = empty_like(bias);
    }
    backend_of("layer_norm", {&x, &dy}).layer_norm_gradient(dx, dgain, dbias, dy, x, gain, eps);
    tape.add(x, std::move(dx));
    if (dgain.empty()) return;
    tape.add(gain, std::move(dgain));
    tape.add(bias, std::move(dbias));
  };
}

}  // namespace sat
