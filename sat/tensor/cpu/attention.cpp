// Attention on the CPU: the plain form, the vector form (two blocked products around a softmax), and its bias.
#include <algorithm>
#include <cmath>
#include <vector>

#include "sat/tensor/cpu/backend.h"
#include "sat/tensor/cpu/matrix.h"
#include "sat/tensor/cpu/vector/product.h"
#include "sat/tensor/cpu/vector/vector_avx2.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kQueriesAPiece = 16;     // of the plain form
constexpr int64_t kScoreFloats = 1 << 18;  // 1 MB a thread: the scores of one head's run of queries

constexpr float kOtherRegion = -100.f;  // what is added to the product of rows of two regions

/// One segment: pointers to its first rows, its bias [heads, queries, tokens] or null, and its rows' regions or null.
struct Job {
  float* y;
  const float *q, *k, *v, *bias;
  int64_t queries, tokens;
  const uint8_t* regions;

  /// What is added to the scaled product of a query and a key.
  float added(int64_t head, int64_t query, int64_t token) const {
    const float value = bias ? bias[(head * queries + query) * tokens + token] : 0.f;
    return regions && regions[query] != regions[token] ? value + kOtherRegion : value;
  }
};

std::vector<Job> jobs_of(Tensor& y, const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads,
                         const Segments& segments, const Tensor& bias) {
  std::vector<Job> jobs;
  const int64_t channels = q.shape[1];
  const float* added = bias.address<float>();
  for (size_t i = 0; i < size_t(segments.count()); ++i) {
    const int64_t query = segments.queries[i], key = segments.keys[i];
    Job job{y.address<float>() + query * channels,
            q.address<float>() + query * channels,
            k.address<float>() + key * channels,
            v.address<float>() + key * channels,
            added,
            segments.queries[i + 1] - query,
            segments.keys[i + 1] - key,
            segments.regions.empty() ? nullptr : segments.regions.data() + query};
    if (bias.shape.rank() == 1 && added) added += heads * job.queries * job.tokens;
    jobs.push_back(job);
  }
  return jobs;
}

void run_plain(const Job& job, int64_t channels, int64_t heads) {
  const int64_t width = channels / heads, tokens = job.tokens;
  const float scale = 1.f / std::sqrt(float(width));
  parallel_for(job.queries, kQueriesAPiece, [&](int64_t first, int64_t last) {
    std::vector<float> weights(size_t(tokens), 0.f);
    for (int64_t n = first; n < last; ++n) {
      for (int64_t head = 0; head < heads; ++head) {
        const float* query = job.q + n * channels + head * width;
        float largest = -INFINITY;
        for (int64_t t = 0; t < tokens; ++t) {
          const float* key = job.k + t * channels + head * width;
          float dot = 0;
          for (int64_t c = 0; c < width; ++c) dot += query[c] * key[c];
          dot = dot * scale + job.added(head, n, t);
          weights[size_t(t)] = dot;
          largest = std::max(largest, dot);
        }
        float total = 0;
        for (float& weight : weights) {
          weight = std::exp(weight - largest);
          total += weight;
        }
        float* to = job.y + n * channels + head * width;
        std::fill_n(to, width, 0.f);
        for (int64_t t = 0; t < tokens; ++t) {
          const float weight = weights[size_t(t)] / total;
          const float* value = job.v + t * channels + head * width;
          for (int64_t c = 0; c < width; ++c) to[c] += weight * value[c];
        }
      }
    }
  });
}

/// Floats of one head's packed keys and of its packed values.
int64_t key_floats(const Job& job, int64_t width) { return divide_up(job.tokens, kPanel) * kPanel * width; }
int64_t value_floats(const Job& job, int64_t width) { return divide_up(width, kPanel) * kPanel * job.tokens; }

/// `rows` queries of one head from `first_query` on; panels are the head's packed keys and, behind them, its values.
void run_head(const Simd& simd, const Job& job, const float* panels, int64_t channels, int64_t width, int64_t head,
              int64_t first_query, int64_t rows) {
  const int64_t tokens = job.tokens;
  const float scale = 1.f / std::sqrt(float(width));
  std::vector<float> scores(size_t(rows * tokens)), totals(size_t(rows), 0.f);
  const auto store_scores = [&](const MatrixRows::Group& group, int64_t row, int64_t first, int64_t outputs,
                                const float* sums) {
    std::copy_n(sums, outputs, scores.data() + (group.first + row) * tokens + first);
  };
  run_product(simd, {panels, rows, 1, tokens, {width, 0}},
              MatrixRows{job.q + first_query * channels + head * width, channels}, store_scores);
  std::vector<float> with_regions(job.regions ? size_t(tokens) : 0);
  for (int64_t row = 0; row < rows; ++row) {
    const float* added = job.bias ? job.bias + (head * job.queries + first_query + row) * tokens : nullptr;
    if (job.regions) {
      for (int64_t t = 0; t < tokens; ++t) with_regions[size_t(t)] = job.added(head, first_query + row, t);
      added = with_regions.data();
    }
    totals[size_t(row)] = avx2::exponentials(scores.data() + row * tokens, added, scale, tokens);
  }
  const auto store_mean = [&](const MatrixRows::Group& group, int64_t row, int64_t first, int64_t outputs,
                              const float* sums) {
    float* to = job.y + (first_query + group.first + row) * channels + head * width + first;
    const float total = totals[size_t(group.first + row)];
    for (int64_t o = 0; o < outputs; ++o) to[o] = sums[o] / total;
  };
  run_product(simd, {panels + key_floats(job, width), rows, 1, width, {tokens, 0}}, MatrixRows{scores.data(), tokens},
              store_mean);
}

void run_vector(const Simd& simd, const std::vector<Job>& jobs, int64_t channels, int64_t heads) {
  const int64_t width = channels / heads;
  struct Run {
    size_t job;
    int64_t first_query, rows;
  };
  std::vector<Run> runs;
  std::vector<int64_t> place{0};  // of each job's packed keys and values
  for (size_t i = 0; i < jobs.size(); ++i) {
    const int64_t most = std::clamp(kScoreFloats / jobs[i].tokens, kTileRows, kGroupRows);
    for (int64_t first = 0; first < jobs[i].queries; first += most) {
      runs.push_back({i, first, std::min(most, jobs[i].queries - first)});
    }
    place.push_back(place[i] + heads * (key_floats(jobs[i], width) + value_floats(jobs[i], width)));
  }
  Tensor packed({place.back()});
  float* panels = packed.address<float>();
  const auto panels_of = [&](size_t job, int64_t head) {
    return panels + place[job] + head * (key_floats(jobs[job], width) + value_floats(jobs[job], width));
  };
  parallel_for(int64_t(jobs.size()) * heads, 1, [&](int64_t item, int64_t) {
    const auto at = size_t(item / heads);
    const int64_t head = item % heads;
    const Job& job = jobs[at];
    float* keys = panels_of(at, head);
    pack_panels(keys, job.k + head * width, job.tokens, width, channels, 1);
    pack_panels(keys + key_floats(job, width), job.v + head * width, width, job.tokens, 1, channels);
  });
  parallel_for(int64_t(runs.size()) * heads, 1, [&](int64_t item, int64_t) {
    const Run& run = runs[size_t(item) % runs.size()];
    const int64_t head = item / int64_t(runs.size());
    run_head(simd, jobs[run.job], panels_of(run.job, head), channels, width, head, run.first_query, run.rows);
  });
}

}  // namespace

void CpuBackend::attention(Tensor& y, const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads,
                           const Segments& segments, const Tensor& bias) {
  const std::vector<Job> jobs = jobs_of(y, q, k, v, heads, segments, bias);
  if (const Simd* simd = current_simd()) return run_vector(*simd, jobs, q.shape[1], heads);
  for (const Job& job : jobs) run_plain(job, q.shape[1], heads);
}

void CpuBackend::attention_map(Tensor& y, const Tensor& q, const Tensor& k, int64_t heads) {
  const int64_t queries = q.shape[0], tokens = k.shape[0], channels = q.shape[1], width = channels / heads;
  const float scale = 1.f / std::sqrt(float(width));
  const float *query = q.address<float>(), *key = k.address<float>();
  float* to = y.address<float>();
  parallel_for(heads * queries, kQueriesAPiece, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      const int64_t at = row / queries * width;
      float* weights = to + row * tokens;
      for (int64_t t = 0; t < tokens; ++t) {
        float dot = 0;
        for (int64_t c = at; c < at + width; ++c) dot += query[row % queries * channels + c] * key[t * channels + c];
        weights[t] = dot * scale;
      }
      const float largest = *std::max_element(weights, weights + tokens);
      float total = 0;
      for (int64_t t = 0; t < tokens; ++t) total += weights[t] = std::exp(weights[t] - largest);
      for (int64_t t = 0; t < tokens; ++t) weights[t] /= total;
    }
  });
}

void CpuBackend::attention_bias(Tensor& y, const Tensor& table, const std::vector<int64_t>& buckets,
                                const std::vector<int64_t>& first, const std::vector<uint8_t>& attended) {
  constexpr float kNever = -1e30f;
  const int64_t heads = table.shape[1], zero_offset = int64_t(buckets.size()) / 2;
  const float* relative = buckets.empty() ? nullptr : table.address<float>();
  float* to = y.address<float>();
  for (size_t text = 0; text + 1 < first.size(); ++text) {
    const int64_t T = first[text + 1] - first[text];
    const uint8_t* seen = attended.data() + first[text];
    parallel_for(heads * T, 16, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t head = row / T, i = row % T;
        for (int64_t j = 0; j < T; ++j) {
          const float value = relative ? relative[buckets[size_t(zero_offset + j - i)] * heads + head] : 0.f;
          to[row * T + j] = value + (seen[j] ? 0.f : kNever);
        }
      }
    });
    to += heads * T * T;
  }
}

}  // namespace sat::cpu
