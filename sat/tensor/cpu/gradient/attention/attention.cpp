// Gradients of attention on the CPU: the weights are made again, a segment and head at a time. The plain forms, and the
// choice between them and those of attention_tiles.cpp.
#include <algorithm>
#include <cmath>

#include "sat/tensor/cpu/backend.h"
#include "sat/tensor/cpu/gradient/attention/attention_job.h"
#include "sat/tensor/cpu/gradient/drop.h"
#include "sat/tensor/cpu/workspace.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

/// A head's softmax, and what dropping leaves of it.
class Weights {
 public:
  Weights(const AttentionJob& job, const AttentionHead& head) : job_(job), head_(head) {}

  /// softmax [keys] of one query; and the factors that dropping multiplies it by.
  void row(int64_t query, float* weights, float* factors) const {
    const float *asked = job_.query_at(head_, query), *bias = job_.bias_at(head_, query);
    float largest = -INFINITY;
    for (int64_t t = 0; t < head_.keys; ++t) {
      const float* key = job_.k.address<float>() + (head_.first_key + t) * job_.channels + head_.channel;
      double sum = 0;
      for (int64_t c = 0; c < job_.width; ++c) sum += double(asked[c]) * double(key[c]);
      weights[t] = float(sum) * job_.scale();
      if (bias) weights[t] += bias[t];
      if (!job_.same_region(head_, query, t)) weights[t] -= 100;
      largest = std::max(largest, weights[t]);
    }
    double total = 0;
    for (int64_t t = 0; t < head_.keys; ++t) total += double(weights[t] = std::exp(weights[t] - largest));
    for (int64_t t = 0; t < head_.keys; ++t) {
      weights[t] = float(double(weights[t]) / total);
      factors[t] = drop_factor(job_.dropped, head_.dropped + query * head_.keys + t);
    }
  }

 private:
  const AttentionJob& job_;
  const AttentionHead& head_;
};

void attend(float* y, const AttentionJob& job, const AttentionHead& head) {
  const Weights softmax(job, head);
  std::vector<float> weights(size_t(head.keys), 0.f), factors(weights);
  for (int64_t n = 0; n < head.queries; ++n) {
    softmax.row(n, weights.data(), factors.data());
    float* row = y + (head.first_query + n) * job.channels + head.channel;
    std::fill_n(row, job.width, 0.f);
    for (int64_t t = 0; t < head.keys; ++t) {
      const float weight = weights[size_t(t)] * factors[size_t(t)];
      const float* value = job.v.address<float>() + (head.first_key + t) * job.channels + head.channel;
      for (int64_t c = 0; c < job.width; ++c) row[c] += weight * value[c];
    }
  }
}

// With w = softmax(s), s = scale q k^T + bias, and f the factors of dropping: dv = (w f)^T dy, dw = (dy v^T) f,
// ds = w (dw - sum_t w dw), dq = scale ds k, dk = scale ds^T q, dbias = ds.
void add_gradient(const AttentionGradients& to, const AttentionJob& job, const AttentionHead& head) {
  const Weights softmax(job, head);
  const int64_t channels = job.channels, width = job.width;
  const float scale = job.scale();
  const float *queries = job.q.address<float>(), *keys = job.k.address<float>(), *values = job.v.address<float>();
  std::vector<float> weights(size_t(head.keys), 0.f), factors(weights), slopes(weights);
  for (int64_t t = 0; t < head.keys; ++t) {
    std::fill_n(to.dk + (head.first_key + t) * channels + head.channel, width, 0.f);
    std::fill_n(to.dv + (head.first_key + t) * channels + head.channel, width, 0.f);
  }
  for (int64_t n = 0; n < head.queries; ++n) {
    softmax.row(n, weights.data(), factors.data());
    const int64_t row = (head.first_query + n) * channels + head.channel;
    double mean = 0;
    for (int64_t t = 0; t < head.keys; ++t) {
      const int64_t at = (head.first_key + t) * channels + head.channel;
      double sum = 0;
      for (int64_t c = 0; c < width; ++c) sum += double(to.dy[row + c]) * double(values[at + c]);
      slopes[size_t(t)] = float(sum) * factors[size_t(t)];
      mean += double(weights[size_t(t)]) * double(slopes[size_t(t)]);
    }
    std::fill_n(to.dq + row, width, 0.f);
    for (int64_t t = 0; t < head.keys; ++t) {
      const int64_t at = (head.first_key + t) * channels + head.channel;
      const float kept = weights[size_t(t)] * factors[size_t(t)];
      const float slope = weights[size_t(t)] * (slopes[size_t(t)] - float(mean));
      for (int64_t c = 0; c < width; ++c) {
        to.dv[at + c] += kept * to.dy[row + c];
        to.dq[row + c] += scale * slope * keys[at + c];
        to.dk[at + c] += scale * slope * queries[row + c];
      }
      if (to.dbias) to.dbias[head.bias + n * head.keys + t] += slope;
    }
  }
}

}  // namespace

AttentionJob::AttentionJob(const Tensor& queries, const Tensor& keys, const Tensor& values, int64_t count,
                           const Segments& runs, const Tensor& added, const Dropout& drops)
    : q(queries),
      k(keys),
      v(values),
      bias(added),
      segments(runs),
      dropped(drops),
      heads(count),
      channels(q.shape[1]),
      width(channels / count) {
  int64_t at = 0;
  for (size_t s = 0; s + 1 < runs.queries.size(); ++s) {
    const int64_t rows = runs.queries[s + 1] - runs.queries[s], looked_at = runs.keys[s + 1] - runs.keys[s];
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t shared = bias.shape.rank() == 3 ? h * rows * looked_at : at;
      all.push_back({runs.queries[s], rows, runs.keys[s], looked_at, h * width, shared, at});
      at += rows * looked_at;
    }
  }
}

float AttentionJob::scale() const { return 1 / std::sqrt(float(width)); }

const float* AttentionJob::query_at(const AttentionHead& head, int64_t query) const {
  return q.address<float>() + (head.first_query + query) * channels + head.channel;
}

const float* AttentionJob::bias_at(const AttentionHead& head, int64_t query) const {
  return bias.empty() ? nullptr : bias.address<float>() + head.bias + query * head.keys;
}

bool AttentionJob::same_region(const AttentionHead& head, int64_t query, int64_t key) const {
  const std::vector<uint8_t>& regions = segments.regions;
  return regions.empty() || regions[size_t(head.first_query + query)] == regions[size_t(head.first_key + key)];
}

void CpuBackend::attention_with_dropout(Tensor& y, const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads,
                                        const Segments& segments, const Tensor& bias, const Dropout& dropped) {
  const AttentionJob job(q, k, v, heads, segments, bias, dropped);
  float* to = y.address<float>();
  if (const Simd* simd = current_simd()) {
    const AttentionTiles tiles(job, *simd);
    Workspace rooms(tiles.room());
    return parallel_for(int64_t(job.all.size()), 1, [&](int64_t item, int64_t) {
      Workspace::Use room(rooms);
      tiles.attend(to, room.data(), job.all[size_t(item)]);
    });
  }
  parallel_for(int64_t(job.all.size()), 1, [&](int64_t item, int64_t) { attend(to, job, job.all[size_t(item)]); });
}

void CpuBackend::attention_gradient(Tensor& dq, Tensor& dk, Tensor& dv, Tensor& dbias, const Tensor& dy,
                                    const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads,
                                    const Segments& segments, const Tensor& bias, const Dropout& dropped) {
  const AttentionJob job(q, k, v, heads, segments, bias, dropped);
  const AttentionGradients to{dy.address<float>(), dq.address<float>(), dk.address<float>(), dv.address<float>(),
                              dbias.address<float>()};
  if (!dbias.empty()) runtime().zero(dbias.raw(), dbias.bytes());
  const auto for_each_head = [&](const auto& compute) {
    if (dbias.empty() || bias.shape.rank() != 3) {
      return parallel_for(int64_t(job.all.size()), 1, [&](int64_t item, int64_t) { compute(job.all[size_t(item)]); });
    }
    parallel_for(heads, 1, [&](int64_t h, int64_t) {  // segments add to one bias in their order
      for (size_t item = size_t(h); item < job.all.size(); item += size_t(heads)) compute(job.all[item]);
    });
  };
  if (const Simd* simd = current_simd()) {
    const AttentionTiles tiles(job, *simd);
    Workspace rooms(tiles.room());
    return for_each_head([&](const AttentionHead& head) {
      Workspace::Use room(rooms);
      tiles.gradient(to, room.data(), head);
    });
  }
  for_each_head([&](const AttentionHead& head) { add_gradient(to, job, head); });
}

void CpuBackend::attention_bias_gradient(Tensor& dtable, const Tensor& dy, const std::vector<int64_t>& buckets,
                                         const std::vector<int64_t>& first) {
  const int64_t heads = dtable.shape[1], longest = (int64_t(buckets.size()) + 1) / 2;
  const float* from = dy.address<float>();
  float* to = dtable.address<float>();
  parallel_for(heads, 1, [&](int64_t head, int64_t) {
    std::vector<double> sums(size_t(dtable.shape[0]), 0.);
    int64_t text = 0;
    for (size_t i = 0; i + 1 < first.size(); ++i) {
      const int64_t T = first[i + 1] - first[i];
      const float* part = from + text + head * T * T;
      for (int64_t n = 0; n < T * T; ++n) {
        sums[size_t(buckets[size_t(n % T - n / T + longest - 1)])] += double(part[n]);
      }
      text += heads * T * T;
    }
    for (size_t bucket = 0; bucket < sums.size(); ++bucket) to[int64_t(bucket) * heads + head] = float(sums[bucket]);
  });
}

}  // namespace sat::cpu
