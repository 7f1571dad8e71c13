// Attention on the CPU: the plain form, the vector form (two blocked products around a softmax), and its bias.
#include <algorithm>
#include <cmath>
#include <vector>

#include "sat/tensor/cpu/amx/attention.h"
#include "sat/tensor/cpu/attention_job.h"
#include "sat/tensor/cpu/attention_windows.h"
#include "sat/tensor/cpu/backend.h"
#include "sat/tensor/cpu/vector/simd.h"
#include "sat/tensor/cpu/workspace.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kQueriesAPiece = 16;  // of the plain form
constexpr int64_t kQueriesARun = 96;    // of one head that a thread takes on; a multiple of kTileRows

constexpr int64_t kSpan = kTilePanels * kPanel;  // outputs of a tile

using Job = AttentionJob;

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

/// One head's keys and values as streams of a tile's weights: keys [spans of 64 tokens][width][up to 64], then values
/// [spans of 64 channels][tokens][up to 64], both filled up to 16 with zeros.
struct Streams {
  int64_t tokens, width;

  int64_t key_floats() const { return divide_up(tokens, kPanel) * kPanel * width; }
  int64_t value_floats() const { return divide_up(width, kPanel) * kPanel * tokens; }
  int64_t floats() const { return key_floats() + value_floats(); }
  /// Floats of a row of scores.
  int64_t score_stride() const { return divide_up(tokens, kPanel) * kPanel; }
};

/// to [spans][depth][up to 64] of x [count, depth], element (i, d) at x[i * count_stride + d * depth_stride].
void pack_stream(float* to, const float* x, int64_t count, int64_t depth, int64_t count_stride, int64_t depth_stride) {
  for (int64_t first = 0; first < count; first += kSpan) {
    const int64_t some = std::min(kSpan, count - first), width = divide_up(some, kPanel) * kPanel;
    for (int64_t d = 0; d < depth; ++d, to += width) {
      for (int64_t i = 0; i < some; ++i) to[i] = x[(first + i) * count_stride + d * depth_stride];
      std::fill(to + some, to + width, 0.f);
    }
  }
}

/// The product of a tile's rows and a stream of `count` outputs: [6, stride].
void multiply(const Simd& simd, float* to, int64_t stride, const float* const* rows, const float* stream, int64_t count,
              int64_t depth) {
  for (int64_t first = 0; first < count; first += kSpan) {
    const int64_t panels = divide_up(std::min(kSpan, count - first), kPanel);
    const TileTarget target{to + first, stride, 1, true};
    simd.tile_onto(&target, 1, rows, {stream, depth, panels, stream + panels * kPanel * depth});
    stream += panels * kPanel * depth;
  }
}

/// Up to 6 queries of one head from `first` on. room: scores of the tile's rows, their results, and a bias row.
void run_tile(const Simd& simd, const Job& job, const Streams& streams, const float* packed, int64_t channels,
              int64_t head, int64_t first, float* room) {
  const int64_t width = streams.width, stride = streams.score_stride(),
                count = std::min(kTileRows, job.queries - first);
  const int64_t result_stride = divide_up(width, kPanel) * kPanel;
  float *scores = room, *results = scores + kTileRows * stride, *bias_row = results + kTileRows * result_stride;
  const float *queries[kTileRows], *weights[kTileRows];
  for (int64_t r = 0; r < kTileRows; ++r) {
    queries[r] = job.q + (first + std::min(r, count - 1)) * channels + head * width;
    weights[r] = scores + r * stride;
  }
  multiply(simd, scores, stride, queries, packed, job.tokens, width);
  float totals[kTileRows];
  const float scale = 1.f / std::sqrt(float(width));
  for (int64_t r = 0; r < count; ++r) {
    const float* added = job.bias ? job.bias + (head * job.queries + first + r) * job.tokens : nullptr;
    if (job.regions) {
      for (int64_t t = 0; t < job.tokens; ++t) bias_row[t] = job.added(head, first + r, t);
      added = bias_row;
    }
    totals[r] = simd.exponentials(scores + r * stride, added, scale, job.tokens);
  }
  multiply(simd, results, result_stride, weights, packed + streams.key_floats(), width, job.tokens);
  for (int64_t r = 0; r < count; ++r) {
    float* to = job.y + (first + r) * channels + head * width;
    for (int64_t c = 0; c < width; ++c) to[c] = results[r * result_stride + c] / totals[r];
  }
}

void run_vector(const Simd& simd, const std::vector<Job>& jobs, int64_t channels, int64_t heads) {
  const int64_t width = channels / heads;
  struct Run {
    size_t job;
    int64_t first, last;  // queries
  };
  std::vector<Run> runs;
  std::vector<int64_t> place{0};  // of each job's packed keys and values
  int64_t most_tokens = 0;
  for (size_t i = 0; i < jobs.size(); ++i) {
    for (int64_t first = 0; first < jobs[i].queries; first += kQueriesARun) {
      runs.push_back({i, first, std::min(jobs[i].queries, first + kQueriesARun)});
    }
    place.push_back(place[i] + heads * Streams{jobs[i].tokens, width}.floats());
    most_tokens = std::max(most_tokens, jobs[i].tokens);
  }
  Tensor packed({place.back()});
  float* streams = packed.address<float>();
  parallel_for(int64_t(jobs.size()) * heads, 1, [&](int64_t item, int64_t) {
    const auto at = size_t(item / heads);
    const int64_t head = item % heads;
    const Job& job = jobs[at];
    const Streams sizes{job.tokens, width};
    float* keys = streams + place[at] + head * sizes.floats();
    pack_stream(keys, job.k + head * width, job.tokens, width, channels, 1);
    pack_stream(keys + sizes.key_floats(), job.v + head * width, width, job.tokens, 1, channels);
  });
  const Streams largest{most_tokens, width};
  Workspace workspace((kTileRows + 1) * largest.score_stride() + kTileRows * divide_up(width, kPanel) * kPanel);
  parallel_for(int64_t(runs.size()) * heads, 1, [&](int64_t item, int64_t) {
    const Run& run = runs[size_t(item) % runs.size()];
    const int64_t head = item / int64_t(runs.size());
    const Job& job = jobs[run.job];
    const Streams sizes{job.tokens, width};
    Workspace::Use room(workspace);
    for (int64_t first = run.first; first < run.last; first += kTileRows) {
      run_tile(simd, job, sizes, streams + place[run.job] + head * sizes.floats(), channels, head, first, room.data());
    }
  });
}

}  // namespace

void CpuBackend::attention(Tensor& y, const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads,
                           const Segments& segments, const Tensor& bias) {
  std::vector<Job> jobs = jobs_of(y, q, k, v, heads, segments, bias);
  const int64_t channels = q.shape[1], width = channels / heads;
  const Simd* simd = current_simd();
  if (simd) {
    attention_windows(y, q, k, v, heads, segments, bias);
    const auto is_done = [&](const Job& job) { return is_window(job.queries, job.tokens, width); };
    jobs.erase(std::remove_if(jobs.begin(), jobs.end(), is_done), jobs.end());
  }
  const AmxLoops* tiles = Context::current().precision() == Precision::fast ? amx_loops() : nullptr;
  if (tiles) {
    const auto stays = [&](const Job& job) {
      return is_window(job.queries, job.tokens, width) || !amx_attention_pays(job.tokens, width);
    };
    const auto rest = std::stable_partition(jobs.begin(), jobs.end(), stays);
    if (rest != jobs.end()) amx_attention_jobs({rest, jobs.end()}, channels, heads, *tiles);
    jobs.erase(rest, jobs.end());
  }
  if (jobs.empty()) return;
  if (simd) return run_vector(*simd, jobs, channels, heads);
  for (const Job& job : jobs) run_plain(job, channels, heads);
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
