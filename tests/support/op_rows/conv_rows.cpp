// Rows of plain and transposed convolutions and of pooling.
#include <array>
#include <cmath>
#include <utility>

#include "sat/tensor/ops.h"
#include "tests/support/op_rows/op_rows.h"

namespace sat::test {

namespace {

struct Case {
  std::array<int64_t, 3> size;
  int64_t batch, in, out, kernel, stride, padding;
};

OpRow conv_row(const Case& c, Tolerance tolerance) {
  const double scale = 1 / std::sqrt(double(c.in * c.kernel * c.kernel * c.kernel));
  const Conv3dOptions options{c.stride, c.padding};
  return {words("conv3d of ", c.batch, " x [", c.size[0], ", ", c.size[1], ", ", c.size[2], "], ", c.in, " -> ", c.out,
                ", kernel ", c.kernel, ", stride ", c.stride, ", padding ", c.padding),
          {{"x", {c.batch, c.size[0], c.size[1], c.size[2], c.in}},
           {"weight", {c.out, c.in, c.kernel, c.kernel, c.kernel}, 2 * scale, 0, DType::f32, true},
           {"bias", {c.out}}},
          [options](const Tensors& i) { return conv3d(i[0], pack_conv3d(i[1]), i[2], options); },
          [c](const Arrays& i) {
            Doubles y = convolved(i[0], i[1], {c.stride, c.padding});
            for (int64_t at = 0; at < y.numel(); ++at) y[at] += i[2][at % i[2].numel()];
            return y;
          },
          tolerance};
}

/// Sizes, strides and paddings of each axis by itself.
void add_uneven_rows(std::vector<OpRow>& rows) {
  const auto add = [&](const Shape& x, const Shape& weight, const Conv3dOptions& options) {
    rows.push_back({words("conv3d of ", x, " by ", weight, ", stride ", options.stride[0], ", ", options.stride[1],
                          ", ", options.stride[2], ", padding ", options.padding[0], ", ", options.padding[1], ", ",
                          options.padding[2], ", no bias"),
                    {{"x", x}, {"weight", weight, 0.2, 0, DType::f32, true}},
                    [options](const Tensors& i) { return conv3d(i[0], pack_conv3d(i[1]), {}, options); },
                    [options](const Arrays& i) { return convolved(i[0], i[1], options); },
                    {4e-6, 4e-6}});
  };
  add({2, 7, 5, 1, 9}, {11, 9, 3, 3, 1}, {{1, 1, 1}, {1, 1, 0}});
  add({1, 6, 7, 8, 5}, {33, 5, 1, 2, 3}, {{3, 2, 1}, {0, 1, 2}});
  add({2, 4, 9, 5, 35}, {17, 35, 2, 5, 1}, {{1, 3, 2}, {1, 0, 0}});
  add({1, 2, 2, 11, 3}, {70, 3, 2, 1, 7}, {{1, 1, 4}, {0, 2, 3}});
}

void add_up_rows(std::vector<OpRow>& rows) {
  for (const auto& [in, out] : {std::pair<int64_t, int64_t>{1, 1}, {5, 3}, {64, 24}, {33, 64}, {300, 10}}) {
    rows.push_back({words("conv_transpose3d ", in, " -> ", out),
                    {{"x", {2, 2, 3, 5, in}},
                     {"weight", {in, out, 2, 2, 2}, 1 / double(in), 0, DType::f32, true},
                     {"bias", {out}}},
                    [](const Tensors& i) { return conv_transpose3d(i[0], pack_conv_transpose3d(i[1]), i[2]); },
                    [](const Arrays& i) { return up_sampled(i[0], i[1], i[2]); },
                    {2e-6, 2e-6}});
  }
  rows.push_back({"conv_transpose3d without a bias",
                  {{"x", {2, 2, 3, 5, 33}}, {"weight", {33, 64, 2, 2, 2}, 0.1, 0, DType::f32, true}},
                  [](const Tensors& i) { return conv_transpose3d(i[0], pack_conv_transpose3d(i[1]), {}); },
                  [](const Arrays& i) { return up_sampled(i[0], i[1], Doubles(Shape{64})); },
                  {2e-6, 2e-6}});
}

Doubles pooled(const Doubles& x, int64_t k) {
  Doubles y(Shape({x.shape[0], x.shape[1] / k, x.shape[2] / k, x.shape[3] / k, x.shape[4]}));
  const int64_t C = x.shape[4];
  for (int64_t at = 0; at < y.numel(); ++at) {
    const int64_t d = at / C % y.shape[3], w = at / C / y.shape[3] % y.shape[2];
    const int64_t bh = at / C / y.shape[3] / y.shape[2];  // samples and rows shrink alike
    for (int64_t i = 0; i < k * k * k; ++i) {
      const int64_t voxel = ((bh * k + i / k / k) * x.shape[2] + w * k + i / k % k) * x.shape[3] + d * k + i % k;
      y[at] += x[voxel * C + at % C] / double(k * k * k);
    }
  }
  return y;
}

void add_pool_rows(std::vector<OpRow>& rows) {
  for (const int64_t k : {1, 3}) {
    rows.push_back({words("avg_pool3d of blocks of ", k),
                    {{"x", {2, 6, 3, 9, 5}}},
                    [k](const Tensors& i) { return avg_pool3d({i[0]}, k); },
                    [k](const Arrays& i) { return pooled(i[0], k); },
                    {1e-6, 1e-6}});
  }
  for (const DType dtype : {DType::f32, DType::f16}) {
    rows.push_back({words("avg_pool3d of ", dtype, " with a pending norm"),
                    {{"x", {2, 4, 8, 4, 21}, 1, 0, dtype},
                     {"center", {2, 21}, 0.2},
                     {"factor", {2, 21}, 0.5, 1},
                     {"shift", {2, 21}, 0.5}},
                    [](const Tensors& i) {
                      return avg_pool3d({i[0], i[1], i[2], i[3], 0.01f}, 4);
                    },
                    [](const Arrays& i) { return pooled(taken(i[0], i[1], i[2], i[3], double(0.01f)), 4); },
                    {1e-6, 1e-6}});
    rows.back().gradient = Gradient::elsewhere;
  }
}

}  // namespace

void add_conv_rows(std::vector<OpRow>& rows) {
  for (const int64_t kernel : {1, 2, 3, 5}) {
    for (const int64_t stride : {1, 2}) {
      for (const int64_t padding : {0, 1, 2}) {
        const int64_t side = kernel == 5 ? 5 : 3;
        if (padding < kernel)
          rows.push_back(conv_row({{side, side + 1, side + 2}, 2, 5, 7, kernel, stride, padding}, {2e-6, 2e-6}));
      }
    }
  }
  for (const Case& c : {Case{{1, 1, 1}, 1, 1, 1, 3, 1, 1},
                        {{1, 2, 15}, 1, 3, 64, 3, 1, 1},
                        {{17, 2, 1}, 2, 8, 24, 3, 1, 1},
                        {{2, 31, 2}, 1, 24, 48, 3, 1, 1},
                        {{15, 1, 17}, 1, 3, 96, 3, 2, 1},
                        {{2, 3, 33}, 1, 72, 64, 3, 1, 1},
                        {{5, 6, 7}, 2, 128, 64, 3, 1, 1},
                        {{7, 5, 3}, 1, 65, 80, 3, 2, 1},
                        {{3, 3, 3}, 1, 96, 130, 3, 1, 1},
                        {{9, 5, 4}, 1, 200, 17, 3, 1, 0},
                        {{5, 5, 5}, 2, 33, 65, 1, 1, 0},
                        {{8, 8, 8}, 1, 300, 16, 1, 2, 0},
                        {{5, 5, 9}, 1, 2, 3, 5, 1, 2},
                        {{3, 3, 3}, 1, 40, 200, 3, 1, 1},
                        {{11, 9, 13}, 1, 11, 20, 3, 1, 1}}) {
    rows.push_back(conv_row(c, {4e-6, 4e-6}));
  }
  add_uneven_rows(rows);
  add_up_rows(rows);
  add_pool_rows(rows);
}

}  // namespace sat::test
