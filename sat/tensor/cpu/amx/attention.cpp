// Attention on AMX around its loops (attention_loops.h): where packed heads lie, and the division into pieces.
#include "sat/tensor/cpu/amx/attention.h"

#include <algorithm>
#include <cmath>

#include "sat/tensor/cpu/amx/matrix_piece.h"
#include "sat/tensor/cpu/workspace.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kEnoughTokens = 128;
/// Of a head. Those of SAT's decoder are wider: they are little work, and every voxel's score hangs on them.
constexpr int64_t kMostWidth = 64;

AmxHeadSizes sizes_of(int64_t tokens, int64_t width) {
  return {divide_up(tokens, kAmxLanes), divide_up(width, kAmxLanes)};
}

/// Values of a head's packed keys, and as many of its packed values.
int64_t packed_values(const AmxHeadSizes& sizes) { return sizes.blocks * sizes.steps * kAmxStep; }

/// Up to 48 queries of a job.
struct Run {
  size_t job;
  int64_t first, queries;
};

/// What a thread works with, in floats from the start of its room.
struct Room {
  int64_t results = 0, scores, added, rounded, weights, floats;

  Room(const AmxHeadSizes& largest, bool adds) {
    const int64_t all = largest.blocks * kAmxRowsStep;
    scores = results + kAmxRowsStep;
    added = scores + all;
    rounded = added + (adds ? all : 0);
    weights = rounded + largest.steps * kAmxRowsStep / 2;
    floats = weights + all / 2;
  }
};

}  // namespace

bool amx_attention_pays(int64_t tokens, int64_t width) { return tokens >= kEnoughTokens && width <= kMostWidth; }

void amx_attention_jobs(const std::vector<AttentionJob>& jobs, int64_t channels, int64_t heads, const AmxLoops& loops) {
  const int64_t width = channels / heads;
  std::vector<Run> runs;
  std::vector<int64_t> place{0};  // of each job's packed heads
  AmxHeadSizes largest = sizes_of(0, width);
  bool adds = false;
  for (size_t i = 0; i < jobs.size(); ++i) {
    for (int64_t first = 0; first < jobs[i].queries; first += kAmxBlock) {
      runs.push_back({i, first, std::min(kAmxBlock, jobs[i].queries - first)});
    }
    const AmxHeadSizes sizes = sizes_of(jobs[i].tokens, width);
    place.push_back(place[i] + 2 * heads * packed_values(sizes));
    largest.blocks = std::max(largest.blocks, sizes.blocks);
    adds = adds || jobs[i].bias || jobs[i].regions;
  }
  Tensor packed({place.back()}, DType::bf16);
  auto* const heads_at = static_cast<uint16_t*>(packed.raw());
  const auto keys_of = [&](size_t job, int64_t head) {
    return heads_at + place[job] + 2 * head * packed_values(sizes_of(jobs[job].tokens, width));
  };
  parallel_for(int64_t(jobs.size()) * heads, 1, [&](int64_t item, int64_t) {
    const auto at = size_t(item / heads);
    const int64_t head = item % heads;
    const AttentionJob& job = jobs[at];
    AmxHead piece{};
    piece.k = job.k + head * width;
    piece.v = job.v + head * width;
    piece.tokens = job.tokens;
    piece.width = width;
    piece.channels = channels;
    piece.sizes = sizes_of(job.tokens, width);
    piece.keys = keys_of(at, head);
    piece.values = piece.keys + packed_values(piece.sizes);
    loops.head(piece);
  });

  const Room room(largest, adds);
  Workspace workspace(room.floats);
  parallel_for(int64_t(runs.size()) * heads, 1, [&](int64_t item, int64_t) {
    const Run& run = runs[size_t(item) % runs.size()];
    const int64_t head = item / int64_t(runs.size());
    const AttentionJob& job = jobs[run.job];
    Workspace::Use scratch(workspace);
    AmxAttention piece{};
    piece.q = job.q + run.first * channels + head * width;
    piece.y = job.y + run.first * channels + head * width;
    piece.queries = run.queries;
    piece.tokens = job.tokens;
    piece.width = width;
    piece.channels = channels;
    piece.sizes = sizes_of(job.tokens, width);
    piece.keys = keys_of(run.job, head);
    piece.values = piece.keys + packed_values(piece.sizes);
    piece.scale = 1.f / std::sqrt(float(width));
    piece.results = scratch.data() + room.results;
    piece.scores = scratch.data() + room.scores;
    piece.rounded = reinterpret_cast<uint16_t*>(scratch.data() + room.rounded);
    piece.weights = reinterpret_cast<uint16_t*>(scratch.data() + room.weights);
    if (job.bias || job.regions) {
      const int64_t stride = piece.sizes.blocks * kAmxLanes;
      float* added = scratch.data() + room.added;
      for (int64_t r = 0; r < run.queries; ++r) {
        for (int64_t t = 0; t < job.tokens; ++t) added[r * stride + t] = job.added(head, run.first + r, t);
        std::fill(added + r * stride + job.tokens, added + (r + 1) * stride, 0.f);
      }
      piece.added = added;
    }
    loops.attention(piece);
  });
}

}  // namespace sat::cpu
