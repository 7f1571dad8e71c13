// Rows of dense layers, products, sums and layer norms.
#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "sat/tensor/ops.h"
#include "tests/support/op_rows/op_rows.h"

namespace sat::test {

namespace {

double activated(double x, Activation act) {
  if (act == Activation::relu) return std::max(x, 0.0);
  return act == Activation::gelu ? 0.5 * x * std::erfc(-x / std::sqrt(2.0)) : x;
}

/// a [..., C] * b^T, b [N, C].
Doubles product(const Doubles& a, const Doubles& b) {
  const int64_t C = b.shape[1], N = b.shape[0];
  Doubles y(a.shape.with(-1, N));
  for (int64_t i = 0; i < y.numel(); ++i) {
    for (int64_t c = 0; c < C; ++c) y[i] += a[i / N * C + c] * b[i % N * C + c];
  }
  return y;
}

/// Of a site of many rows, which a backend may combine with each other: matrices that do and do not fill the groups,
/// several runs of inputs, outputs that do not fill a tile.
void add_site_rows(std::vector<OpRow>& rows) {
  struct Case {
    int64_t matrices, count, in, out;
  };
  for (const Case& c : {Case{1, 1, 16, 32}, {2, 330, 64, 160}, {3, 49, 1088, 32}, {2, 97, 2064, 96}}) {
    for (const Activation act : {Activation::none, Activation::gelu}) {
      rows.push_back({words("linear of a site of many rows, ", c.matrices, " x ", c.count, " x ", c.in, " -> ", c.out,
                            ", activation ", int(act)),
                      {{"x", {c.matrices, c.count, c.in}},
                       {"weight", {c.out, c.in}, 2 / std::sqrt(double(c.in)), 0, DType::f32, true},
                       {"bias", {c.out}}},
                      [act](const Tensors& i) { return linear(i[0], pack_linear(i[1], {1370}), i[2], act); },
                      [act](const Arrays& i) {
                        Doubles y = product(i[0], i[1]);
                        for (int64_t at = 0; at < y.numel(); ++at) {
                          y[at] = activated(y[at] + i[2][at % i[2].numel()], act);
                        }
                        return y;
                      },
                      {5e-6, 5e-6}});
    }
  }
}

void add_linear_rows(std::vector<OpRow>& rows) {
  const std::vector<std::pair<int64_t, int64_t>> sizes = {{1, 1}, {3, 17}, {96, 64}, {300, 130}, {513, 31}};
  for (const int64_t n : {1, 5, 6, 7, 33, 200}) {
    for (const auto& [in, out] : sizes) {
      for (const Activation act : {Activation::none, Activation::relu, Activation::gelu}) {
        rows.push_back(
            {words("linear ", n, " x ", in, " -> ", out, ", activation ", int(act)),
             {{"x", {n, in}}, {"weight", {out, in}, 2 / std::sqrt(double(in)), 0, DType::f32, true}, {"bias", {out}}},
             [act](const Tensors& i) { return linear(i[0], pack_linear(i[1]), i[2], act); },
             [act](const Arrays& i) {
               Doubles y = product(i[0], i[1]);
               for (int64_t at = 0; at < y.numel(); ++at) {
                 y[at] = activated(y[at] + i[2][at % i[2].numel()], act);
               }
               return y;
             },
             {2e-6, 2e-6}});
      }
    }
  }
  add_site_rows(rows);
  for (const auto& [n, in, out] : {std::array<int64_t, 3>{4200, 3, 5}, {9, 40, 400}}) {  // weights' gradients in parts
    rows.push_back({words("linear ", n, " x ", in, " -> ", out, " without a bias"),
                    {{"x", {n, in}}, {"weight", {out, in}, 2 / std::sqrt(double(in)), 0, DType::f32, true}},
                    [](const Tensors& i) { return linear(i[0], pack_linear(i[1]), {}); },
                    [](const Arrays& i) { return product(i[0], i[1]); },
                    {2e-6, 2e-6}});
  }
  rows.push_back({"linear without a bias, of three axes",
                  {{"x", {3, 5, 70}}, {"weight", {90, 70}, 0.2, 0, DType::f32, true}},
                  [](const Tensors& i) { return linear(i[0], pack_linear(i[1]), {}); },
                  [](const Arrays& i) { return product(i[0], i[1]); },
                  {2e-6, 2e-6}});
}

/// The end of a transformer's block: with and without a bias, with and without a scale.
OpRow linear_add_row(int64_t n, int64_t in, int64_t out, bool biased, bool scaled) {
  OpRow row{
      words("linear_add ", n, " x ", in, " -> ", out, biased ? ", bias" : "", scaled ? ", scale" : ""),
      {{"residual", {n, out}}, {"x", {n, in}}, {"weight", {out, in}, 2 / std::sqrt(double(in)), 0, DType::f32, true}},
      [=](const Tensors& i) {
        return linear_add(i[0], i[1], pack_linear(i[2]), biased ? i[3] : Tensor(), scaled ? i.back() : Tensor());
      },
      [=](const Arrays& i) {
        Doubles y = product(i[1], i[2]);
        for (int64_t at = 0; at < y.numel(); ++at) {
          const double value = y[at] + (biased ? i[3][at % out] : 0);
          y[at] = i[0][at] + (scaled ? i.back()[at % out] : 1) * value;
        }
        return y;
      },
      {2e-6, 3e-6}};
  if (biased) row.inputs.push_back({"bias", {out}});
  if (scaled) row.inputs.push_back({"scale", {out}});
  return row;
}

void add_linear_add_rows(std::vector<OpRow>& rows) {
  for (const auto& [n, in, out] :
       {std::array<int64_t, 3>{1, 1, 1}, {7, 17, 33}, {33, 130, 96}, {200, 64, 5}, {6, 300, 257}}) {
    for (const bool biased : {false, true}) {
      for (const bool scaled : {false, true}) rows.push_back(linear_add_row(n, in, out, biased, scaled));
    }
  }
}

void add_gelu_rows(std::vector<OpRow>& rows) {
  for (const Shape& shape : {Shape{1}, Shape{3, 17}, Shape{2, 5, 4099}}) {
    rows.push_back({words("gelu ", shape),
                    {{"x", shape, 8}},
                    [](const Tensors& i) { return gelu(i[0]); },
                    [](const Arrays& i) {
                      Doubles y(i[0].shape);
                      for (int64_t at = 0; at < y.numel(); ++at) y[at] = activated(i[0][at], Activation::gelu);
                      return y;
                    },
                    {4e-7, 4e-7}});
  }
}

void add_product_rows(std::vector<OpRow>& rows) {
  for (const auto& [n, C, N] : {std::array<int64_t, 3>{1, 1, 1}, {7, 24, 5}, {200, 64, 33}, {33, 300, 17}}) {
    rows.push_back({words("product_transposed ", n, " x ", C, " x ", N),
                    {{"a", {n, C}}, {"b", {N, C}, 2 / std::sqrt(double(C))}},
                    [](const Tensors& i) { return product_transposed(i[0], i[1]); },
                    [](const Arrays& i) { return product(i[0], i[1]); },
                    {2e-6, 2e-6}});
  }
  rows.push_back({"product_transposed of a volume",
                  {{"a", {1, 3, 4, 5, 20}}, {"b", {9, 20}, 0.4}},
                  [](const Tensors& i) { return product_transposed(i[0], i[1]); },
                  [](const Arrays& i) { return product(i[0], i[1]); },
                  {2e-6, 2e-6}});
}

void add_sum_rows(std::vector<OpRow>& rows) {
  for (const Shape& b : {Shape{1001, 77}, Shape{77}}) {
    rows.push_back({words("add ", b),
                    {{"a", {1001, 77}}, {"b", b}},
                    [](const Tensors& i) { return add(i[0], i[1]); },
                    [](const Arrays& i) {
                      Doubles y(i[0].shape);
                      for (int64_t at = 0; at < y.numel(); ++at) y[at] = i[0][at] + i[1][at % i[1].numel()];
                      return y;
                    },
                    {1e-7, 1e-7}});
  }
}

void add_norm_rows(std::vector<OpRow>& rows) {
  const auto defined = [](const Doubles& x, const Doubles* gain, const Doubles* bias) {
    const int64_t channels = x.shape[1];
    Doubles y(x.shape);
    for (int64_t row = 0; row < x.shape[0]; ++row) {
      const double* values = &x.values[size_t(row * channels)];
      double mean = 0, variance = 0;
      for (int64_t c = 0; c < channels; ++c) mean += values[c] / double(channels);
      for (int64_t c = 0; c < channels; ++c) {
        variance += (values[c] - mean) * (values[c] - mean) / double(channels);
      }
      for (int64_t c = 0; c < channels; ++c) {
        const double n = (values[c] - mean) / std::sqrt(variance + double(1e-5f));
        y[row * channels + c] = gain ? n * (*gain)[c] + (*bias)[c] : n;
      }
    }
    return y;
  };
  for (const int64_t C : {2, 31, 768}) {
    rows.push_back({words("layer_norm of ", C, " channels without gain and bias"),
                    {{"x", {17, C}}},
                    [](const Tensors& i) { return layer_norm(i[0], {}, {}, 1e-5f); },
                    [=](const Arrays& i) { return defined(i[0], nullptr, nullptr); },
                    {2e-6, 2e-6}});
  }
  for (const int64_t C : {1, 2, 7, 8, 31, 768}) {
    for (const double offset : {0.0, 1e4}) {
      rows.push_back({words("layer_norm of ", C, " channels about ", offset),
                      {{"x", {17, C}, 1, offset}, {"gain", {C}}, {"bias", {C}}},
                      [](const Tensors& i) { return layer_norm(i[0], i[1], i[2], 1e-5f); },
                      [=](const Arrays& i) { return defined(i[0], &i[1], &i[2]); },
                      {1e-6, 1e-6}});
      rows.back().step = 1e-5;
      // A device takes the mean in f32: half a unit in the last place of 1e4 is 5e-4, and deviations here are below 1.
      if (offset != 0) rows.back().on_device = Tolerance{2e-2, 2e-2};
    }
  }
}

}  // namespace

void add_matrix_rows(std::vector<OpRow>& rows) {
  add_linear_rows(rows);
  add_linear_add_rows(rows);
  add_gelu_rows(rows);
  add_product_rows(rows);
  add_sum_rows(rows);
  add_norm_rows(rows);
}

}  // namespace sat::test
