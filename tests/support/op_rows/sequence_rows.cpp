// Rows of what Mamba does along sequences: its short convolution and its selective scan.
#include <array>
#include <cmath>

#include "tests/support/op_rows/op_rows.h"

namespace sat::test {

namespace {

double silu(double x) { return x / (1 + std::exp(-x)); }
double softplus(double x) { return x > 30 ? x : std::log1p(std::exp(x)); }

void add_short_convolution_row(std::vector<OpRow>& rows, int64_t B, int64_t L, int64_t C, int64_t K) {
  rows.push_back({words("causal_conv1d_silu of ", B, " x ", L, " x ", C, " by ", K),
                  {{"x", {B, L, C}}, {"weight", {C, K}}, {"bias", {C}}},
                  [](const Tensors& i) { return causal_conv1d_silu(i[0], i[1], i[2]); },
                  [=](const Arrays& i) {
                    Doubles y(i[0].shape);
                    for (int64_t at = 0; at < y.numel(); ++at) {
                      const int64_t c = at % C, l = at / C % L;
                      double sum = i[2][c];
                      for (int64_t j = 0; j < K; ++j) {
                        if (l - K + 1 + j >= 0) sum += i[1][c * K + j] * i[0][at + (j - K + 1) * C];
                      }
                      y[at] = silu(sum);
                    }
                    return y;
                  },
                  {2e-6, 2e-6}});
}

struct Scan {
  int64_t B, L, C, N;
  double log_a, delta;  // about which they lie
};

Doubles scanned(const Arrays& i, const Scan& s) {
  const auto &x = i[0], &delta = i[1], &log_a = i[2], &b = i[3], &c = i[4], &d = i[5], &gate = i[6];
  Doubles y(x.shape);
  for (int64_t chain = 0; chain < s.B * s.C; ++chain) {
    const int64_t channel = chain % s.C;
    std::vector<double> h(size_t(s.N), 0.);
    for (int64_t l = chain / s.C * s.L; l < (chain / s.C + 1) * s.L; ++l) {
      const int64_t at = l * s.C + channel;
      const double step = softplus(delta[at]);
      double sum = d[channel] * x[at];
      for (int64_t n = 0; n < s.N; ++n) {
        double& state = h[size_t(n)];
        state = std::exp(-std::exp(log_a[channel * s.N + n]) * step) * state + step * x[at] * b[l * s.N + n];
        sum += state * c[l * s.N + n];
      }
      y[at] = sum * silu(gate[at]);
    }
  }
  return y;
}

void add_scan_row(std::vector<OpRow>& rows, const Scan& s, Tolerance tolerance) {
  const Shape sequence{s.B, s.L, s.C}, states{s.B, s.L, s.N};
  rows.push_back({words("selective_scan of ", s.B, " x ", s.L, " x ", s.C, ", ", s.N, " states, log_a about ", s.log_a,
                        ", delta about ", s.delta),
                  {{"x", sequence},
                   {"delta", sequence, 2, s.delta},
                   {"log_a", {s.C, s.N}, 1, s.log_a},
                   {"b", states},
                   {"c", states},
                   {"d", {s.C}},
                   {"gate", sequence, 3}},
                  [](const Tensors& i) { return selective_scan(i[0], i[1], i[2], i[3], i[4], i[5], i[6]); },
                  [=](const Arrays& i) { return scanned(i, s); },
                  tolerance});
}

}  // namespace

void add_sequence_rows(std::vector<OpRow>& rows) {
  const size_t first = rows.size();
  for (const auto& [B, L, C, K] :
       {std::array<int64_t, 4>{1, 1, 1, 1}, {2, 3, 5, 4}, {1, 70, 33, 4}, {2, 129, 64, 3}, {1, 5, 300, 7}}) {
    add_short_convolution_row(rows, B, L, C, K);
  }
  add_scan_row(rows, {1, 1, 1, 1, 0, 0}, {4e-6, 4e-6});
  add_scan_row(rows, {2, 7, 5, 3, 0.5, -1}, {4e-6, 4e-6});
  add_scan_row(rows, {1, 300, 33, 16, 1, -2}, {4e-6, 8e-6});
  add_scan_row(rows, {2, 65, 17, 8, 0, 19}, {4e-6, 2e-5});     // steps about where softplus is taken as its argument
  add_scan_row(rows, {1, 1000, 3, 16, -4, -5}, {8e-6, 4e-5});  // states that remember all of the sequence
  add_scan_row(rows, {1, 64, 40, 33, 4, -1}, {4e-6, 8e-6});    // and ones that forget at once
  set_from(rows, first, Gradient::refused);
}

}  // namespace sat::test
