// Rows of attention and of its bias.
#include <array>
#include <cmath>

#include "sat/tensor/ops.h"
#include "tests/support/op_rows/op_rows.h"

namespace sat::test {

namespace {

enum class Bias { none, shared, one_a_segment };

/// Softmax attention of each segment; the bias [heads, N, T], or one behind another.
Doubles attention_defined(const Arrays& i, int64_t heads, const Segments& segments, Bias kind) {
  const Doubles &q = i[0], &k = i[1], &v = i[2];
  const int64_t C = q.shape[1], width = C / heads;
  Doubles y(q.shape);
  int64_t before = 0;  // elements of the bias of earlier segments
  for (int64_t s = 0; s < segments.count(); ++s) {
    const int64_t first = segments.queries[size_t(s)], N = segments.queries[size_t(s) + 1] - first;
    const int64_t key = segments.keys[size_t(s)], T = segments.keys[size_t(s) + 1] - key;
    for (int64_t n = 0; n < N; ++n) {
      for (int64_t h = 0; h < heads; ++h) {
        std::vector<double> weights;
        double largest = -INFINITY, total = 0;
        for (int64_t t = 0; t < T; ++t) {
          double dot = 0;
          for (int64_t c = h * width; c < (h + 1) * width; ++c) dot += q[(first + n) * C + c] * k[(key + t) * C + c];
          dot /= std::sqrt(double(width));
          if (!segments.regions.empty()) {
            dot -= segments.regions[size_t(first + n)] == segments.regions[size_t(key + t)] ? 0 : 100;
          }
          if (kind != Bias::none) dot += i[3][before + (h * N + n) * T + t];
          weights.push_back(dot);
          largest = std::max(largest, dot);
        }
        for (double& weight : weights) total += weight = std::exp(weight - largest);
        for (int64_t c = h * width; c < (h + 1) * width; ++c) {
          for (int64_t t = 0; t < T; ++t) y[(first + n) * C + c] += weights[size_t(t)] * v[(key + t) * C + c] / total;
        }
      }
    }
    if (kind == Bias::one_a_segment) before += heads * N * T;
  }
  return y;
}

OpRow attention_row(const std::string& name, int64_t heads, int64_t width, const Segments& segments, Bias kind) {
  const int64_t C = heads * width, R = segments.queries.back(), T = segments.keys.back();
  OpRow row{words("attention ", name, ", ", heads, " heads of ", width, ", bias ", int(kind)),
            {{"q", {R, C}, 2}, {"k", {T, C}, 2}, {"v", {T, C}}},
            [=](const Tensors& i) {
              return attention(i[0], i[1], i[2], heads, segments, kind == Bias::none ? Tensor() : i[3]);
            },
            [=](const Arrays& i) { return attention_defined(i, heads, segments, kind); },
            {2e-6, 2e-6}};
  if (kind == Bias::shared) row.inputs.push_back({"bias", {heads, segments.queries[1], segments.keys[1]}, 3});
  if (kind == Bias::one_a_segment) {
    int64_t all = 0;
    for (size_t s = 0; s + 1 < segments.queries.size(); ++s) {
      all += heads * (segments.queries[s + 1] - segments.queries[s]) * (segments.keys[s + 1] - segments.keys[s]);
    }
    row.inputs.push_back({"bias", {all}, 3});
  }
  return row;
}

/// Segments of one length whose rows belong to regions, as windows of a shifted grid do; some have one region alone.
Segments windows(int64_t count, int64_t tokens) {
  Segments segments = equal_segments(count, tokens, tokens);
  for (int64_t row = 0; row < count * tokens; ++row) {
    const int64_t window = row / tokens, at = row % tokens;
    segments.regions.push_back(uint8_t(window % 3 == 0 ? 7 : at % 7 / 3 + 3 * (at / 7 % 5 / 2)));
  }
  return segments;
}

OpRow map_row(int64_t N, int64_t T, int64_t heads, int64_t width) {
  const int64_t C = heads * width;
  return {words("attention_map ", N, " x ", T, ", ", heads, " heads of ", width),
          {{"q", {N, C}, 2}, {"k", {T, C}, 2}},
          [=](const Tensors& i) { return attention_map(i[0], i[1], heads); },
          [=](const Arrays& i) {
            Doubles y(Shape({heads, N, T}));
            for (int64_t row = 0; row < heads * N; ++row) {
              double* weights = &y.values[size_t(row * T)];
              double total = 0;
              for (int64_t t = 0; t < T; ++t) {
                for (int64_t c = row / N * width; c < (row / N + 1) * width; ++c) {
                  weights[t] += i[0][row % N * C + c] * i[1][t * C + c] / std::sqrt(double(width));
                }
              }
              for (int64_t t = 0; t < T; ++t) total += weights[t] = std::exp(weights[t]);
              for (int64_t t = 0; t < T; ++t) weights[t] /= total;
            }
            return y;
          },
          {4e-6, 1e-6}};
}

/// Relative buckets and padding of texts, as attention() takes them.
OpRow bias_row(const std::string& name, int64_t table_rows, int64_t heads, const std::vector<int64_t>& first,
               bool padded = true) {
  int64_t longest = 0;
  for (size_t t = 0; t + 1 < first.size(); ++t) longest = std::max(longest, first[t + 1] - first[t]);
  std::vector<int64_t> buckets;
  for (int64_t i = 0; table_rows > 0 && i < 2 * longest - 1; ++i) buckets.push_back(i * 7 % table_rows);
  std::vector<uint8_t> attended;
  for (int64_t r = 0; r < first.back(); ++r) attended.push_back(!padded || r % 5 != 3);
  return {"attention_bias " + name,
          {{"table", {table_rows, heads}}},
          [=](const Tensors& i) { return attention_bias(i[0], buckets, first, attended); },
          [=](const Arrays& i) {
            std::vector<double> all;
            for (size_t t = 0; t + 1 < first.size(); ++t) {
              const int64_t T = first[t + 1] - first[t];
              for (int64_t at = 0; at < heads * T * T; ++at) {
                const int64_t head = at / T / T, query = at / T % T, key = at % T;
                const double mask = attended[size_t(first[t] + key)] ? 0 : -1e30;
                const double bias =
                    buckets.empty() ? 0 : i[0][buckets[size_t(key - query + longest - 1)] * heads + head];
                all.push_back(bias + mask);
              }
            }
            Doubles y(Shape({int64_t(all.size())}));
            y.values = all;
            return y;
          },
          {1e-7, 1e-7}};
}

}  // namespace

void add_attention_rows(std::vector<OpRow>& rows) {
  for (const auto& [N, T, heads, width] :
       {std::array<int64_t, 4>{1, 1, 1, 1}, {7, 31, 2, 3}, {33, 17, 3, 16}, {3, 243, 2, 96}, {200, 100, 1, 24}}) {
    for (const Bias kind : {Bias::none, Bias::shared}) {
      rows.push_back(attention_row(words(N, " x ", T), heads, width, equal_segments(1, N, T), kind));
    }
  }
  const Segments uneven{{0, 1, 1, 34, 47}, {0, 3, 4, 21, 64}}, equal = equal_segments(3, 7, 19);
  for (const Bias kind : {Bias::none, Bias::one_a_segment}) {
    rows.push_back(attention_row("of uneven segments", 3, 8, uneven, kind));
    rows.push_back(attention_row("of equal segments", 2, 16, equal, kind));
  }
  rows.push_back(attention_row("of equal segments", 2, 16, equal, Bias::shared));
  for (const auto& [count, tokens, heads, width] :
       {std::array<int64_t, 4>{1, 1, 1, 2}, {4, 49, 3, 16}, {3, 70, 2, 8}, {2, 343, 1, 16}}) {
    for (const Bias kind : {Bias::none, Bias::shared}) {
      rows.push_back(attention_row(words("of ", count, " windows of ", tokens, " with regions"), heads, width,
                                   windows(count, tokens), kind));
    }
  }
  Segments parts = uneven;
  parts.keys = parts.queries = {0, 1, 12, 34, 47};
  for (int64_t row = 0; row < 47; ++row) parts.regions.push_back(uint8_t(row / 4 % 3));
  rows.push_back(attention_row("of uneven segments with regions", 2, 5, parts, Bias::one_a_segment));
  rows.push_back(bias_row("of texts without padding", 5, 4, {0, 1, 10, 14}, false));
  const size_t padded = rows.size();  // a key that is padding swallows what the table says of it
  rows.push_back(bias_row("of one text", 32, 3, {0, 17}));
  rows.push_back(bias_row("of texts of 1, 9 and 4 tokens", 5, 4, {0, 1, 10, 14}));
  rows.push_back(bias_row("of masks alone", 0, 2, {0, 7, 12}));
  set_from(rows, padded, Gradient::elsewhere);
  const size_t maps = rows.size();
  rows.push_back(map_row(1, 1, 1, 1));
  rows.push_back(map_row(7, 31, 2, 3));
  rows.push_back(map_row(70, 333, 3, 64));
  set_from(rows, maps, Gradient::refused);
}

}  // namespace sat::test
