// The vector forms of attention's gradient: some queries of a head at a time, all of its keys, by register tiles.
#include <algorithm>
#include <cmath>

#include "sat/tensor/cpu/gradient/attention/attention_job.h"
#include "sat/tensor/cpu/gradient/conv/outer_product.h"
#include "sat/tensor/cpu/gradient/drop.h"
#include "sat/tensor/cpu/gradient/row_loops.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kQueries = 8 * kTileRows;
constexpr int64_t kGroup = kTilePanels * kPanel;  // most outputs of a tile

int64_t padded(int64_t count) { return divide_up(count, kPanel) * kPanel; }

/// A matrix's outputs in groups of up to 64, each as the tiles read it: [in, group].
struct Stream {
  float* first;
  int64_t in, out;  // out a multiple of 16

  /// From x[o * out_stride + i * in_stride], zeros behind the last of `count` outputs.
  void pack(const float* x, int64_t count, int64_t out_stride, int64_t in_stride) const {
    for (int64_t o = 0; o < out; o += kGroup) {
      const int64_t width = std::min(kGroup, out - o), some = std::clamp<int64_t>(count - o, 0, width);
      float* to = first + in * o;
      for (int64_t i = 0; i < in; ++i, to += width) {
        for (int64_t lane = 0; lane < some; ++lane) to[lane] = x[(o + lane) * out_stride + i * in_stride];
        std::fill(to + some, to + width, 0.f);
      }
    }
  }
};

/// to [count, stride] = rows [count, in] of x, `step` apart, times the stream; count is rounded up to whole tiles.
void multiply(float* to, int64_t stride, const Simd& simd, const float* x, int64_t step, int64_t count,
              const Stream& stream) {
  for (int64_t o = 0; o < stream.out; o += kGroup) {
    const float* weights = stream.first + stream.in * o;
    const StreamWeights group{weights, stream.in, std::min(kGroup, stream.out - o) / kPanel, weights};
    for (int64_t row = 0; row < count; row += kTileRows) {
      const float* rows[kTileRows];
      for (int64_t r = 0; r < kTileRows; ++r) rows[r] = x + (row + r) * step;
      const TileTarget target{to + row * stride + o, stride, 1, true};
      simd.tile_onto(&target, 1, rows, group);
    }
  }
}

/// sums, in groups of columns [rows, group], += x^T y over `count` rows: x [count, rows], y [count, columns].
void add_products(float* sums, OuterProduct outer, const float* x, int64_t rows, const float* y, int64_t columns,
                  int64_t count) {
  int32_t x_at[kQueries], y_at[kQueries];
  for (int64_t n = 0; n < count; ++n) {
    x_at[n] = int32_t(n * rows);
    y_at[n] = int32_t(n * columns);
  }
  for (int64_t c = 0; c < columns; c += kGroup) {
    outer(sums + c * rows, {x, y + c, x_at, y_at, count}, rows, std::min(kGroup, columns - c) / kPanel);
  }
}

/// Some queries' rows of one head, `columns` apart, with zeros behind their ends and behind the last.
void bring(float* to, const float* from, int64_t channels, int64_t width, int64_t columns, int64_t count) {
  for (int64_t n = 0; n < kQueries; ++n) {
    const int64_t some = n < count ? width : 0;
    std::copy_n(from + (n < count ? n : 0) * channels, some, to + n * columns);
    std::fill(to + n * columns + some, to + (n + 1) * columns, 0.f);
  }
}

}  // namespace

/// A head's working memory, in pieces.
struct AttentionTiles::Room {
  Stream products, slopes_of, back;                                   // k and v as outputs; k, or v, as inputs
  float *queries, *upstream, *weights, *slopes, *row, *dk, *dv, *dq;  // row: of one query, one number a key

  Room(float* from, const AttentionHead& head, int64_t width, int64_t columns) {
    const int64_t keys = padded(head.keys);
    const auto take = [&](int64_t floats) {
      float* part = from;
      from += floats;
      return part;
    };
    products = {take(keys * width), width, keys};
    slopes_of = {take(keys * width), width, keys};
    back = {take(head.keys * columns), head.keys, columns};
    queries = take(kQueries * columns);
    upstream = take(kQueries * columns);
    dq = take(kQueries * columns);
    weights = take(kQueries * keys);
    slopes = take(kQueries * keys);
    dk = take(keys * columns);
    dv = take(keys * columns);
    row = take(keys);
  }
};

AttentionTiles::AttentionTiles(const AttentionJob& job, const Simd& simd)
    : job_(job), simd_(simd), columns_(padded(job.width)) {
  for (const AttentionHead& head : job.all) keys_ = std::max(keys_, padded(head.keys));
}

int64_t AttentionTiles::room() const {
  return keys_ * (2 * job_.width + 3 * columns_ + 2 * kQueries + 1) + 3 * kQueries * columns_;
}

/// The softmax of `count` queries from `query` on, whose rows are in the room; zeros behind the last key.
void AttentionTiles::weights_of(Room& room, const AttentionHead& head, int64_t query, int64_t count) const {
  const int64_t keys = head.keys, stride = room.products.out;
  multiply(room.weights, stride, simd_, room.queries, columns_, count, room.products);
  for (int64_t n = 0; n < count; ++n) {
    float* weights = room.weights + n * stride;
    const float* bias = job_.bias_at(head, query + n);
    if (!job_.segments.regions.empty()) {
      for (int64_t t = 0; t < keys; ++t) {
        room.row[t] = (bias ? bias[t] : 0) - (job_.same_region(head, query + n, t) ? 0.f : 100.f);
      }
      bias = room.row;
    }
    const float share = 1 / simd_.exponentials(weights, bias, job_.scale(), keys);
    for (int64_t t = 0; t < keys; ++t) weights[t] *= share;
    std::fill(weights + keys, weights + stride, 0.f);
  }
}

void AttentionTiles::attend(float* y, float* from, const AttentionHead& head) const {
  Room room(from, head, job_.width, columns_);
  const int64_t channels = job_.channels, at = head.first_key * channels + head.channel, stride = room.products.out;
  room.products.pack(job_.k.address<float>() + at, head.keys, channels, 1);
  room.back.pack(job_.v.address<float>() + at, job_.width, 1, channels);
  for (int64_t query = 0; query < head.queries; query += kQueries) {
    const int64_t count = std::min(kQueries, head.queries - query);
    bring(room.queries, job_.query_at(head, query), channels, job_.width, columns_, count);
    weights_of(room, head, query, count);
    for (int64_t n = 0; n < count; ++n) {
      const int64_t dropped = head.dropped + (query + n) * head.keys;
      for (int64_t t = 0; t < head.keys; ++t) room.weights[n * stride + t] *= drop_factor(job_.dropped, dropped + t);
    }
    multiply(room.dq, columns_, simd_, room.weights, stride, count, room.back);
    for (int64_t n = 0; n < count; ++n) {
      std::copy_n(room.dq + n * columns_, job_.width, y + (head.first_query + query + n) * channels + head.channel);
    }
  }
}

void AttentionTiles::gradient(const AttentionGradients& to, float* from, const AttentionHead& head) const {
  Room room(from, head, job_.width, columns_);
  const OuterProduct outer = &simd_ == &kAvx2 ? outer_product_avx2 : outer_product_avx512;
  const int64_t channels = job_.channels, width = job_.width, keys = head.keys, stride = room.products.out;
  const int64_t at = head.first_key * channels + head.channel;
  const float scale = job_.scale();
  room.products.pack(job_.k.address<float>() + at, keys, channels, 1);
  room.slopes_of.pack(job_.v.address<float>() + at, keys, channels, 1);
  room.back.pack(job_.k.address<float>() + at, width, 1, channels);
  std::fill_n(room.dk, stride * columns_, 0.f);
  std::fill_n(room.dv, stride * columns_, 0.f);
  for (int64_t query = 0; query < head.queries; query += kQueries) {
    const int64_t count = std::min(kQueries, head.queries - query);
    const int64_t row = (head.first_query + query) * channels + head.channel;
    bring(room.queries, job_.query_at(head, query), channels, width, columns_, count);
    bring(room.upstream, to.dy + row, channels, width, columns_, count);
    weights_of(room, head, query, count);
    multiply(room.slopes, stride, simd_, room.upstream, columns_, count, room.slopes_of);
    for (int64_t n = 0; n < count; ++n) {
      float *weights = room.weights + n * stride, *slopes = room.slopes + n * stride;
      const int64_t dropped = head.dropped + (query + n) * keys;
      const bool drops = job_.dropped.rate > 0;
      for (int64_t t = 0; drops && t < keys; ++t) {
        room.row[t] = drop_factor(job_.dropped, dropped + t);
        slopes[t] *= room.row[t];
      }
      avx2::softmax_gradient(slopes, weights, stride);
      for (int64_t t = 0; drops && t < keys; ++t) weights[t] *= room.row[t];
      float* dbias = to.dbias ? to.dbias + head.bias + (query + n) * keys : nullptr;
      for (int64_t t = 0; dbias && t < keys; ++t) dbias[t] += slopes[t];
    }
    add_products(room.dv, outer, room.weights, stride, room.upstream, columns_, count);
    add_products(room.dk, outer, room.slopes, stride, room.queries, columns_, count);
    multiply(room.dq, columns_, simd_, room.slopes, stride, count, room.back);
    for (int64_t n = 0; n < count; ++n) {
      for (int64_t c = 0; c < width; ++c) to.dq[row + n * channels + c] = scale * room.dq[n * columns_ + c];
    }
  }
  for (int64_t c = 0; c < width; ++c) {
    const int64_t group = c / kGroup * kGroup, apart = std::min(kGroup, columns_ - group);
    const float *dk = room.dk + group * stride + c - group, *dv = room.dv + group * stride + c - group;
    for (int64_t t = 0; t < keys; ++t) {
      to.dk[at + t * channels + c] = scale * dk[t * apart];
      to.dv[at + t * channels + c] = dv[t * apart];
    }
  }
}

}  // namespace sat::cpu
