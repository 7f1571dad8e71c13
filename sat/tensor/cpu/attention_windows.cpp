// Attention inside windows on the CPU: one window and head at a time, packed into the thread's own cache.
#include "sat/tensor/cpu/attention_windows.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "sat/tensor/cpu/vector/windows_avx2.h"
#include "sat/tensor/cpu/workspace.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kMostTokens = 512, kMostWidth = 32;  // what a window's packed head may be: 128 KB
constexpr int64_t kWindowsAPiece = 4;
constexpr float kOtherRegion = -100.f;  // what is added to the product of rows of two regions

using avx2::kWindowLanes;
using avx2::kWindowQueries;

int64_t padded(int64_t count) { return divide_up(count, kWindowLanes) * kWindowLanes; }

/// panels [ceil(outputs / 16)][terms][16] of x, element (output, term) at x[output * output_stride + term *
/// term_stride].
void pack(float* panels, const float* x, int64_t outputs, int64_t terms, int64_t output_stride, int64_t term_stride) {
  for (int64_t first = 0; first < outputs; first += kWindowLanes) {
    for (int64_t term = 0; term < terms; ++term) {
      for (int64_t lane = 0; lane < kWindowLanes; ++lane) {
        const int64_t output = first + lane;
        *panels++ = output < outputs ? x[output * output_stride + term * term_stride] : 0.f;
      }
    }
  }
}

struct Window {
  int64_t first, first_key, tokens, bias_at;  // rows of q, of k and v; where its bias begins
};

/// For each region of a window, the row that is added to the scores of its queries.
class RegionMasks {
 public:
  /// room: as many rows of `tokens` rounded up to 16 as a window may have regions.
  RegionMasks(const uint8_t* regions, int64_t tokens, float* room) : regions_(regions), rows_(room) {
    if (regions && std::all_of(regions, regions + tokens, [&](uint8_t region) { return region == regions[0]; })) {
      regions_ = nullptr;
    }
    for (int64_t t = 0; regions_ && t < tokens; ++t) {
      if (place_of(regions_[t]) == int64_t(seen_.size())) seen_.push_back(regions_[t]);
    }
    for (size_t i = 0; i < seen_.size(); ++i) {
      float* row = rows_ + int64_t(i) * padded(tokens);
      for (int64_t t = 0; t < padded(tokens); ++t) row[t] = t < tokens && regions_[t] != seen_[i] ? kOtherRegion : 0.f;
    }
  }
  /// Null where the whole window is one region.
  const float* row(int64_t query, int64_t tokens) const {
    return regions_ ? rows_ + place_of(regions_[query]) * padded(tokens) : nullptr;
  }

 private:
  int64_t place_of(uint8_t region) const { return std::find(seen_.begin(), seen_.end(), region) - seen_.begin(); }

  const uint8_t* regions_;
  float* rows_;
  std::vector<uint8_t> seen_;
};

int64_t most_regions(const std::vector<uint8_t>& regions) {
  std::vector<bool> seen(256, false);
  for (const uint8_t region : regions) seen[region] = true;
  return std::count(seen.begin(), seen.end(), true);
}

}  // namespace

bool is_window(int64_t queries, int64_t tokens, int64_t width) {
  return queries == tokens && tokens > 0 && tokens <= kMostTokens && width <= kMostWidth;
}

void attention_windows(Tensor& y, const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads,
                       const Segments& segments, const Tensor& bias) {
  const int64_t channels = q.shape[1], width = channels / heads;
  std::vector<Window> found;
  int64_t most = 0, bias_at = 0;
  for (size_t i = 0; i < size_t(segments.count()); ++i) {
    const int64_t first = segments.queries[i], queries = segments.queries[i + 1] - first;
    const int64_t first_key = segments.keys[i], tokens = segments.keys[i + 1] - first_key;
    if (is_window(queries, tokens, width)) {
      found.push_back({first, first_key, tokens, bias_at});
      most = std::max(most, tokens);
    }
    if (bias.shape.rank() == 1) bias_at += heads * queries * tokens;
  }
  if (found.empty()) return;
  const auto windows = int64_t(found.size());
  const int64_t key_floats = padded(most) * width, value_floats = padded(width) * most,
                score_floats = kWindowQueries * padded(most);
  Workspace workspace(key_floats + value_floats + score_floats + most_regions(segments.regions) * padded(most));
  const float *queries = q.address<float>(), *keys = k.address<float>(), *values = v.address<float>();
  const float* added = bias.address<float>();
  float* results = y.address<float>();
  // All windows of a head, one after another: the head's bias stays in the cache.
  parallel_for(heads * windows, kWindowsAPiece, [&](int64_t begin, int64_t end) {
    Workspace::Use room(workspace);
    float *packed_keys = room.data(), *packed_values = packed_keys + key_floats, *scores = packed_values + value_floats;
    for (int64_t item = begin; item < end; ++item) {
      const int64_t head = item / windows;
      const auto& [first, first_key, tokens, own_bias] = found[size_t(item % windows)];
      const int64_t at = first * channels + head * width, key_at = first_key * channels + head * width;
      pack(packed_keys, keys + key_at, tokens, width, channels, 1);
      pack(packed_values, values + key_at, width, tokens, 1, channels);
      const RegionMasks masks(segments.regions.empty() ? nullptr : segments.regions.data() + first, tokens,
                              scores + score_floats);
      const float* window_bias = added ? added + own_bias : nullptr;
      const avx2::WindowHead packed{packed_keys, packed_values, tokens, width, 1.f / std::sqrt(float(width))};
      for (int64_t query = 0; query < tokens; query += kWindowQueries) {
        const int64_t rows = std::min(kWindowQueries, tokens - query);
        float* to[kWindowQueries];
        const float *from[kWindowQueries], *bias_rows[kWindowQueries], *mask_rows[kWindowQueries];
        for (int64_t r = 0; r < rows; ++r) {
          to[r] = results + at + (query + r) * channels;
          from[r] = queries + at + (query + r) * channels;
          bias_rows[r] = window_bias ? window_bias + (head * tokens + query + r) * tokens : nullptr;
          mask_rows[r] = masks.row(query + r, tokens);
        }
        avx2::window_queries(to, from, bias_rows, mask_rows, rows, packed, scores);
      }
    }
  });
}

}  // namespace sat::cpu
