// Private: what the forms of attention's gradient, and of attention whose weights are dropped, share.
#pragma once

#include <vector>

#include "sat/tensor/cpu/vector/simd.h"
#include "sat/tensor/ops.h"

namespace sat::cpu {

/// One head of one segment: where its rows, its bias and its dropped weights begin.
struct AttentionHead {
  int64_t first_query, queries, first_key, keys, channel, bias, dropped;
};

/// The inputs of attention(), and its heads in the order of a bias of rank 1.
struct AttentionJob {
  const Tensor &q, &k, &v, &bias;
  const Segments& segments;
  const Dropout& dropped;
  int64_t heads, channels, width;
  std::vector<AttentionHead> all;

  AttentionJob(const Tensor& queries, const Tensor& keys, const Tensor& values, int64_t count, const Segments& runs,
               const Tensor& added, const Dropout& drops);

  float scale() const;
  const float* query_at(const AttentionHead& head, int64_t query) const;
  const float* bias_at(const AttentionHead& head, int64_t query) const;  // of all keys; null for none
  bool same_region(const AttentionHead& head, int64_t query, int64_t key) const;
};

/// Where gradients go; dbias is null where none is wanted, and added to.
struct AttentionGradients {
  const float* dy;
  float *dq, *dk, *dv, *dbias;
};

/// The vector forms, of one head at a time; any thread may run another.
class AttentionTiles {
 public:
  AttentionTiles(const AttentionJob& job, const Simd& simd);

  int64_t room() const;  // floats that a head works in
  void attend(float* y, float* room, const AttentionHead& head) const;
  void gradient(const AttentionGradients& to, float* room, const AttentionHead& head) const;

 private:
  struct Room;
  void weights_of(Room& room, const AttentionHead& head, int64_t query, int64_t count) const;

  const AttentionJob& job_;
  const Simd& simd_;
  int64_t columns_, keys_ = 0;  // a head's channels and the most keys, in panels of 16
};

}  // namespace sat::cpu
