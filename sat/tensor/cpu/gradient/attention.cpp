// Gradients of attention on the CPU: the weights are made again, a segment and head at a time.
#include <algorithm>
#include <cmath>

#include "sat/tensor/cpu/backend.h"
#include "sat/tensor/cpu/gradient/drop.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

/// One head of one segment: where its rows, its bias and its dropped weights begin.
struct Head {
  int64_t first_query, queries, first_key, keys, channel, bias, dropped;
};

/// All heads of all segments, in the order of a bias of rank 1.
std::vector<Head> heads_of(const Segments& segments, int64_t heads, int64_t width, const Tensor& bias) {
  std::vector<Head> all;
  int64_t at = 0;
  for (int64_t s = 0; s < segments.count(); ++s) {
    const auto i = size_t(s);
    const int64_t queries = segments.queries[i + 1] - segments.queries[i],
                  keys = segments.keys[i + 1] - segments.keys[i];
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t shared = bias.shape.rank() == 3 ? h * queries * keys : at;
      all.push_back({segments.queries[i], queries, segments.keys[i], keys, h * width, shared, at});
      at += queries * keys;
    }
  }
  return all;
}

/// A head's softmax, and what dropping leaves of it.
class Weights {
 public:
  Weights(const Head& head, int64_t width, const Tensor& q, const Tensor& k, const Segments& segments,
          const Tensor& bias, const Dropout& dropped)
      : head_(head), width_(width), q_(q), k_(k), segments_(segments), bias_(bias), dropped_(dropped) {}

  /// softmax [keys] of one query; and the factors that dropping multiplies it by.
  void row(int64_t query, float* weights, float* factors) const {
    const int64_t channels = q_.shape[1], keys = head_.keys;
    const float scale = 1 / std::sqrt(float(width_));
    const float* asked = q_.address<float>() + (head_.first_query + query) * channels + head_.channel;
    float largest = -INFINITY;
    for (int64_t t = 0; t < keys; ++t) {
      const float* key = k_.address<float>() + (head_.first_key + t) * channels + head_.channel;
      double sum = 0;
      for (int64_t c = 0; c < width_; ++c) sum += double(asked[c]) * double(key[c]);
      weights[t] = float(sum) * scale;
      if (!bias_.empty()) weights[t] += bias_.address<float>()[head_.bias + query * keys + t];
      if (!segments_.regions.empty() &&
          segments_.regions[size_t(head_.first_query + query)] != segments_.regions[size_t(head_.first_key + t)]) {
        weights[t] -= 100;
      }
      largest = std::max(largest, weights[t]);
    }
    double total = 0;
    for (int64_t t = 0; t < keys; ++t) total += double(weights[t] = std::exp(weights[t] - largest));
    for (int64_t t = 0; t < keys; ++t) {
      weights[t] = float(double(weights[t]) / total);
      factors[t] = drop_factor(dropped_, head_.dropped + query * keys + t);
    }
  }

 private:
  const Head& head_;
  int64_t width_;
  const Tensor &q_, &k_;
  const Segments& segments_;
  const Tensor& bias_;
  const Dropout& dropped_;
};

}  // namespace

void CpuBackend::attention_with_dropout(Tensor& y, const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads,
                                        const Segments& segments, const Tensor& bias, const Dropout& dropped) {
  const int64_t channels = q.shape[1], width = channels / heads;
  const std::vector<Head> all = heads_of(segments, heads, width, bias);
  const float* values = v.address<float>();
  float* to = y.address<float>();
  parallel_for(int64_t(all.size()), 1, [&](int64_t item, int64_t) {
    const Head& head = all[size_t(item)];
    const Weights softmax(head, width, q, k, segments, bias, dropped);
    std::vector<float> weights(size_t(head.keys), 0.f), factors(weights);
    for (int64_t n = 0; n < head.queries; ++n) {
      softmax.row(n, weights.data(), factors.data());
      float* row = to + (head.first_query + n) * channels + head.channel;
      std::fill_n(row, width, 0.f);
      for (int64_t t = 0; t < head.keys; ++t) {
        const float weight = weights[size_t(t)] * factors[size_t(t)];
        const float* value = values + (head.first_key + t) * channels + head.channel;
        for (int64_t c = 0; c < width; ++c) row[c] += weight * value[c];
      }
    }
  });
}

// With w = softmax(s), s = scale q k^T + bias, and f the factors of dropping: dv = (w f)^T dy, dw = (dy v^T) f,
// ds = w (dw - sum_t w dw), dq = scale ds k, dk = scale ds^T q, dbias = ds.
void CpuBackend::attention_gradient(Tensor& dq, Tensor& dk, Tensor& dv, Tensor& dbias, const Tensor& dy,
                                    const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads,
                                    const Segments& segments, const Tensor& bias, const Dropout& dropped) {
  const int64_t channels = q.shape[1], width = channels / heads;
  const float scale = 1 / std::sqrt(float(width));
  const std::vector<Head> all = heads_of(segments, heads, width, bias);
  const float *queries = q.address<float>(), *keys = k.address<float>(), *values = v.address<float>(),
              *upstream = dy.address<float>();
  float *to_q = dq.address<float>(), *to_k = dk.address<float>(), *to_v = dv.address<float>();
  float* to_bias = dbias.empty() ? nullptr : dbias.address<float>();
  const bool shared_bias = bias.shape.rank() == 3;  // segments add to it in order
  parallel_for(heads, 1, [&](int64_t h, int64_t) {
    for (size_t item = size_t(h); item < all.size(); item += size_t(heads)) {
      const Head& head = all[item];
      const Weights softmax(head, width, q, k, segments, bias, dropped);
      std::vector<float> weights(size_t(head.keys), 0.f), factors(weights), slopes(weights);
      for (int64_t t = 0; t < head.keys; ++t) {
        std::fill_n(to_k + (head.first_key + t) * channels + head.channel, width, 0.f);
        std::fill_n(to_v + (head.first_key + t) * channels + head.channel, width, 0.f);
      }
      if (to_bias && (!shared_bias || item < size_t(heads))) {
        std::fill_n(to_bias + head.bias, head.queries * head.keys, 0.f);
      }
      for (int64_t n = 0; n < head.queries; ++n) {
        softmax.row(n, weights.data(), factors.data());
        const int64_t row = (head.first_query + n) * channels + head.channel;
        double mean = 0;
        for (int64_t t = 0; t < head.keys; ++t) {
          const int64_t at = (head.first_key + t) * channels + head.channel;
          double sum = 0;
          for (int64_t c = 0; c < width; ++c) sum += double(upstream[row + c]) * double(values[at + c]);
          slopes[size_t(t)] = float(sum) * factors[size_t(t)];
          mean += double(weights[size_t(t)]) * double(slopes[size_t(t)]);
        }
        std::fill_n(to_q + row, width, 0.f);
        for (int64_t t = 0; t < head.keys; ++t) {
          const int64_t at = (head.first_key + t) * channels + head.channel;
          const float kept = weights[size_t(t)] * factors[size_t(t)];
          const float slope = weights[size_t(t)] * (slopes[size_t(t)] - float(mean));
          for (int64_t c = 0; c < width; ++c) {
            to_v[at + c] += kept * upstream[row + c];
            to_q[row + c] += scale * slope * keys[at + c];
            to_k[at + c] += scale * slope * queries[row + c];
          }
          if (to_bias) to_bias[head.bias + n * head.keys + t] += slope;
        }
      }
    }
  });
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
