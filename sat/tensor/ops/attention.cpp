// Attention over segments, and its bias.
#include <algorithm>

#include "sat/tensor/ops/check.h"

namespace sat {

namespace {

/// Throws Error where `starts` are not 0, ..., rows without a step back, or a segment without keys.
void check_starts(const char* op, const char* what, const std::vector<int64_t>& starts, int64_t rows) {
  SAT_CHECK(
      !starts.empty() && starts.front() == 0 && starts.back() == rows && std::is_sorted(starts.begin(), starts.end()),
      op, ": segments of ", what, " do not run from 0 to ", rows, " in order");
}

void check_bias(const Tensor& bias, int64_t heads, const Segments& segments) {
  if (bias.empty()) return;
  int64_t all = 0;
  bool equal = true;
  for (size_t i = 0; i + 1 < segments.queries.size(); ++i) {
    const int64_t queries = segments.queries[i + 1] - segments.queries[i],
                  keys = segments.keys[i + 1] - segments.keys[i];
    all += heads * queries * keys;
    equal = equal && queries == segments.queries[1] && keys == segments.keys[1];
  }
  if (bias.shape.rank() == 1) {
    SAT_CHECK(bias.shape[0] == all, "attention: bias has shape ", bias.shape, ", needs [", all, "]");
    return;
  }
  SAT_CHECK(equal, "attention: a bias of shape ", bias.shape, " for segments of different sizes");
  const Shape want({heads, segments.queries[1], segments.keys[1]});
  SAT_CHECK(bias.shape == want, "attention: bias has shape ", bias.shape, ", needs ", want);
}

}  // namespace

Segments equal_segments(int64_t count, int64_t queries, int64_t keys) {
  Segments segments;
  for (int64_t i = 0; i <= count; ++i) {
    segments.queries.push_back(i * queries);
    segments.keys.push_back(i * keys);
  }
  return segments;
}

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads, const Segments& segments,
                 const Tensor& bias, const Dropout& dropped) {
  SAT_CHECK(q.shape.rank() == 2 && k.shape.rank() == 2 && k.shape == v.shape && q.shape[1] == k.shape[1],
            "attention: q, k, v have shapes ", q.shape, ", ", k.shape, ", ", v.shape, ", need [N, C], [T, C], [T, C]");
  SAT_CHECK(heads > 0 && q.shape[1] % heads == 0, "attention: ", q.shape[1], " channels do not divide into ", heads,
            " heads");
  check_starts("attention", "queries", segments.queries, q.shape[0]);
  check_starts("attention", "keys", segments.keys, k.shape[0]);
  SAT_CHECK(segments.queries.size() == segments.keys.size(), "attention: ", segments.queries.size(),
            " bounds of queries, ", segments.keys.size(), " of keys");
  SAT_CHECK(
      std::adjacent_find(segments.keys.begin(), segments.keys.end()) == segments.keys.end() && segments.keys.size() > 1,
      "attention: there are no keys");
  check_bias(bias, heads, segments);
  SAT_CHECK(
      segments.regions.empty() || (segments.queries == segments.keys && int64_t(segments.regions.size()) == q.shape[0]),
      "attention: ", segments.regions.size(), " regions for ", q.shape[0], " queries and ", k.shape[0], " keys");
  check_f32("attention", {&q, &k, &v, &bias});
  Backend& backend = backend_of("attention", {&q, &k, &v, &bias});
  profile::Range range("attention", q.shape);
  Tensor y = empty_like(q);
  check_dropout("attention", dropped);
  if (dropped.rate > 0) {
    backend.attention_with_dropout(y, q, k, v, heads, segments, bias, dropped);
  } else {
    backend.attention(y, q, k, v, heads, segments, bias);
  }
  if (Tape* tape = following({&q, &k, &v, &bias})) {
    tape->record("attention", y, attention_gradient(q, k, v, heads, segments, bias, dropped));
  }
  return y;
}

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads, const Tensor& bias) {
  SAT_CHECK(q.shape.rank() == 2 && k.shape.rank() == 2, "attention: q, k, v have shapes ", q.shape, ", ", k.shape, ", ",
            v.shape, ", need [N, C], [T, C], [T, C]");
  return attention(q, k, v, heads, equal_segments(1, q.shape[0], k.shape[0]), bias);
}

Tensor attention_map(const Tensor& q, const Tensor& k, int64_t heads) {
  SAT_CHECK(q.shape.rank() == 2 && k.shape.rank() == 2 && q.shape[1] == k.shape[1] && k.shape[0] > 0,
            "attention_map: q and k have shapes ", q.shape, " and ", k.shape, ", need [N, C], [T, C]");
  SAT_CHECK(heads > 0 && q.shape[1] % heads == 0, "attention_map: ", q.shape[1], " channels do not divide into ", heads,
            " heads");
  refuse_history("attention_map", {&q, &k});
  check_f32("attention_map", {&q, &k});
  Backend& backend = backend_of("attention_map", {&q, &k});
  profile::Range range("attention_map", q.shape);
  Tensor y({heads, q.shape[0], k.shape[0]}, DType::f32, q.device);
  backend.attention_map(y, q, k, heads);
  return y;
}

Tensor attention_bias(const Tensor& table, const std::vector<int64_t>& buckets, const std::vector<int64_t>& first,
                      const std::vector<uint8_t>& attended) {
  check_starts("attention_bias", "tokens", first, int64_t(attended.size()));
  SAT_CHECK(table.shape.rank() == 2, "attention_bias: table has shape ", table.shape, ", needs [M, heads]");
  int64_t longest = 0, elements = 0;
  for (size_t i = 0; i + 1 < first.size(); ++i) {
    const int64_t T = first[i + 1] - first[i];
    longest = std::max(longest, T);
    elements += table.shape[1] * T * T;
  }
  SAT_CHECK(buckets.empty() || int64_t(buckets.size()) == 2 * longest - 1, "attention_bias: ", buckets.size(),
            " buckets for offsets in texts of up to ", longest, " tokens, needs ", 2 * longest - 1);
  for (int64_t bucket : buckets) {
    SAT_CHECK(bucket >= 0 && bucket < table.shape[0], "attention_bias: bucket ", bucket, " of a table of ",
              table.shape[0], " rows");
  }
  check_f32("attention_bias", {&table});
  Backend& backend = backend_of("attention_bias", {&table});
  profile::Range range("attention_bias", table.shape);
  Tensor y({elements}, DType::f32, table.device);
  backend.attention_bias(y, table, buckets, first, attended);
  if (Tape* tape = following({&table})) {
    tape->record("attention_bias", y, attention_bias_gradient(table, buckets, first));
  }
  return y;
}

}  // namespace sat
