// Rows of ops on images: 2-D convolutions, patches, axes that are sampled anew, pooling.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "tests/support/op_rows/op_rows.h"

namespace sat::test {

namespace {

/// [B, H, W, C] as [B, H, W, 1, C], and back.
Doubles deep(Doubles x) {
  x.shape = {x.shape[0], x.shape[1], x.shape[2], 1, x.shape[3]};
  return x;
}
Doubles flat(Doubles x) {
  x.shape = {x.shape[0], x.shape[1], x.shape[2], x.shape[4]};
  return x;
}

void add_conv_rows_of_images(std::vector<OpRow>& rows) {
  struct Case {
    Shape x;
    int64_t out, kernel, stride, padding;
  };
  for (const Case& c : {Case{{1, 1, 1, 1}, 1, 3, 1, 1},
                        {{2, 7, 9, 5}, 33, 3, 1, 1},
                        {{1, 17, 16, 64}, 64, 3, 1, 1},
                        {{1, 5, 33, 40}, 130, 3, 2, 1},
                        {{2, 6, 5, 70}, 31, 1, 1, 0},
                        {{1, 15, 13, 3}, 24, 7, 2, 3}}) {
    rows.push_back(
        {words("conv2d of ", c.x, " -> ", c.out, ", kernel ", c.kernel, ", stride ", c.stride),
         {{"x", c.x},
          {"weight",
           {c.out, c.x[3], c.kernel, c.kernel},
           2 / std::sqrt(double(c.x[3] * c.kernel * c.kernel)),
           0,
           DType::f32,
           true},
          {"bias", {c.out}}},
         [=](const Tensors& i) { return conv2d(i[0], pack_conv2d(i[1]), i[2], c.stride, c.padding); },
         [=](const Arrays& i) {
           Doubles weight = i[1];
           weight.shape = {c.out, c.x[3], c.kernel, c.kernel, 1};
           Doubles y = flat(convolved(deep(i[0]), weight, {{c.stride, c.stride, 1}, {c.padding, c.padding, 0}}));
           for (int64_t at = 0; at < y.numel(); ++at) y[at] += i[2][at % c.out];
           return y;
         },
         {4e-6, 4e-6}});
  }
}

OpRow up_row(int64_t k, int64_t in, int64_t out, bool biased) {
  OpRow row{words("conv_transpose2d by ", k, ", ", in, " -> ", out, biased ? ", bias" : ""),
            {{"x", {2, 3, 5, in}}, {"weight", {in, out, k, k}, 1 / std::sqrt(double(in)), 0, DType::f32, true}},
            [=](const Tensors& i) {
              return conv_transpose2d(i[0], pack_conv_transpose2d(i[1]), biased ? i[2] : Tensor(), k);
            },
            [=](const Arrays& i) {
              Doubles y(Shape({2, 3 * k, 5 * k, out}));
              for (int64_t at = 0; at < y.numel(); ++at) {
                const int64_t o = at % out, column = at / out % (5 * k), line = at / out / (5 * k);
                y[at] = biased ? i[2][o] : 0;
                for (int64_t c = 0; c < in; ++c) {
                  y[at] += i[0][(line / k * 5 + column / k) * in + c] *
                           i[1][((c * out + o) * k + line % k) * k + column % k];
                }
              }
              return y;
            },
            {2e-6, 2e-6}};
  if (biased) row.inputs.push_back({"bias", {out}});
  return row;
}

void add_up_rows_of_images(std::vector<OpRow>& rows) {
  for (const auto& [k, in, out] : {std::array<int64_t, 3>{1, 4, 3}, {2, 33, 24}, {3, 5, 7}, {4, 64, 1}}) {
    for (const bool biased : {false, true}) rows.push_back(up_row(k, in, out, biased));
  }
}

/// Calls at(pixel, patch) for every value of an image's whole patches: where it lies in both.
template <class At>
void for_each_in_patches(const Shape& image, int64_t p, const At& at) {
  const int64_t h = image[1] / p, w = image[2] / p, C = image[3];
  for (int64_t i = 0; i < image[0] * h * w * p * p * C; ++i) {
    const int64_t c = i % C, column = i / C % p, row = i / C / p % p, patch = i / C / p / p;
    const int64_t b = patch / w / h, y = patch / w % h * p + row, x = patch % w * p + column;
    at(((b * image[1] + y) * image[2] + x) * C + c, i);
  }
}

void add_patch_rows(std::vector<OpRow>& rows) {
  for (const auto& [x, p] : {std::pair<Shape, int64_t>{{1, 1, 1, 1}, 1},
                             {{2, 7, 9, 5}, 2},
                             {{1, 14, 29, 3}, 14},
                             {{2, 12, 8, 17}, 4},
                             {{1, 3, 5, 130}, 3}}) {
    const Shape image = x, whole{x[0], x[1] / p * p, x[2] / p * p, x[3]};
    const Shape patches{x[0], x[1] / p, x[2] / p, p * p * x[3]};
    rows.push_back({words("split_patches of ", image, " into ", p),
                    {{"x", image}},
                    [p = p](const Tensors& i) { return split_patches(i[0], p); },
                    [=, p = p](const Arrays& i) {
                      Doubles y(patches);
                      for_each_in_patches(image, p, [&](int64_t pixel, int64_t patch) { y[patch] = i[0][pixel]; });
                      return y;
                    }});
    rows.push_back({words("join_patches of ", patches, " from ", p),
                    {{"x", patches}},
                    [p = p](const Tensors& i) { return join_patches(i[0], p); },
                    [=, p = p](const Arrays& i) {
                      Doubles y(whole);
                      for_each_in_patches(whole, p, [&](int64_t pixel, int64_t patch) { y[pixel] = i[0][patch]; });
                      return y;
                    }});
    rows.push_back(
        {words("a patch embedding of ", image, " by ", p),
         {{"x", image}, {"weight", {11, x[3], p, p}, 0.2, 0, DType::f32, true}},
         [p = p](const Tensors& i) { return linear(split_patches(i[0], p), pack_patch_embedding(i[1]), {}); },
         [=, p = p](const Arrays& i) {
           Doubles weight = i[1];
           weight.shape = {11, image[3], p, p, 1};
           return flat(convolved(deep(i[0]), weight, {{p, p, 1}, {0, 0, 0}}));
         },
         {4e-6, 4e-6}});
  }
}

/// One axis sampled anew by the taps' own words: position, weights.
Doubles sampled(const Doubles& x, int axis, int64_t out, const std::function<double(int64_t, int64_t)>& weight) {
  int64_t outer = 1, inner = 1;
  for (int a = 0; a < axis; ++a) outer *= x.shape[a];
  for (int a = axis + 1; a < x.shape.rank(); ++a) inner *= x.shape[a];
  const int64_t in = x.shape[axis];
  Doubles y(x.shape.with(axis, out));
  for (int64_t i = 0; i < out; ++i) {
    for (int64_t s = 0; s < in; ++s) {
      const double share = weight(i, s);
      if (share == 0) continue;
      for (int64_t o = 0; o < outer; ++o) {
        for (int64_t c = 0; c < inner; ++c) y[(o * out + i) * inner + c] += share * x[(o * in + s) * inner + c];
      }
    }
  }
  return y;
}

/// How much of sample s output i takes, by each convention: as PyTorch's documentation says it.
double linear_share(int64_t in, int64_t out, bool aligned, int64_t i, int64_t s) {
  double at = aligned ? (out > 1 ? double(i) * double(in - 1) / double(out - 1) : 0)
                      : (double(i) + 0.5) * double(in) / double(out) - 0.5;
  at = std::clamp(at, 0., double(in - 1));
  return std::max(0., 1 - std::abs(at - double(s)));
}

double cubic_share(int64_t in, double step, int64_t i, int64_t s) {
  const double at = (double(i) + 0.5) * step - 0.5;
  double share = 0;
  for (int64_t tap = int64_t(std::floor(at)) - 1; tap <= int64_t(std::floor(at)) + 2; ++tap) {
    if (std::clamp<int64_t>(tap, 0, in - 1) != s) continue;
    const double t = std::abs(at - double(tap));
    share += t <= 1 ? 1.25 * t * t * t - 2.25 * t * t + 1 : -0.75 * t * t * t + 3.75 * t * t - 6 * t + 3;
  }
  return share;
}

double mean_share(int64_t in, int64_t out, int64_t i, int64_t s) {
  const int64_t begin = i * in / out, end = ((i + 1) * in + out - 1) / out;
  return s >= begin && s < end ? 1 / double(end - begin) : 0;
}

void add_resample_rows(std::vector<OpRow>& rows) {
  const auto add = [&](const std::string& how, const Shape& x, int axis, const AxisTaps& taps,
                       const std::function<double(int64_t, int64_t)>& share) {
    rows.push_back({words("resample ", how, " of ", x, " along ", axis, " to ", taps.out()),
                    {{"x", x}},
                    [=](const Tensors& i) { return resample(i[0], axis, taps); },
                    [=](const Arrays& i) { return sampled(i[0], axis, taps.out(), share); },
                    {2e-6, 2e-6}});
  };
  for (const auto& [in, out] : {std::pair<int64_t, int64_t>{1, 1}, {1, 5}, {5, 1}, {7, 19}, {19, 7}, {16, 32}}) {
    const int64_t from = in, to = out;
    for (const bool aligned : {false, true}) {
      add(aligned ? "linear, aligned" : "linear", {2, in, 3, 5}, 1, linear_taps(in, out, aligned),
          [=](int64_t i, int64_t s) { return linear_share(from, to, aligned, i, s); });
    }
    add("nearest", {3, in, 33}, 1, nearest_taps(in, out),
        [=](int64_t i, int64_t s) { return i * from / to == s ? 1. : 0.; });
    add("cubic", {2, 3, in, 4}, 2, cubic_taps(in, out),
        [=](int64_t i, int64_t s) { return cubic_share(from, double(from) / double(to), i, s); });
    add("mean", {in, 65}, 0, mean_taps(in, out), [=](int64_t i, int64_t s) { return mean_share(from, to, i, s); });
  }
  add("cubic with a step of its own", {1, 37, 8}, 1, cubic_taps(37, 16, 37 / 16.1),
      [](int64_t i, int64_t s) { return cubic_share(37, 37 / 16.1, i, s); });
  add("linear along the last axis", {3, 11}, 1, linear_taps(11, 300),
      [](int64_t i, int64_t s) { return linear_share(11, 300, false, i, s); });
  rows.push_back(
      {"resample2d, linear rows and cubic columns",
       {{"x", {2, 7, 9, 5}}},
       [](const Tensors& i) { return resample2d(i[0], linear_taps(7, 16), cubic_taps(9, 4)); },
       [](const Arrays& i) {
         const Doubles narrow = sampled(i[0], 2, 4, [](int64_t o, int64_t s) { return cubic_share(9, 9 / 4., o, s); });
         return sampled(narrow, 1, 16, [](int64_t o, int64_t s) { return linear_share(7, 16, false, o, s); });
       },
       {2e-6, 2e-6}});
}

void add_max_rows(std::vector<OpRow>& rows) {
  for (const auto& [x, k] : {std::pair<Shape, int64_t>{{1, 1, 1, 1}, 1}, {{2, 7, 9, 5}, 2}, {{1, 9, 6, 65}, 3}}) {
    const Shape image = x;
    rows.push_back({words("max_pool2d of ", image, " by ", k),
                    {{"x", image}},
                    [k = k](const Tensors& i) { return max_pool2d(i[0], k); },
                    [=, k = k](const Arrays& i) {
                      Doubles y(Shape({image[0], image[1] / k, image[2] / k, image[3]}));
                      std::fill(y.values.begin(), y.values.end(), -std::numeric_limits<double>::infinity());
                      for_each_in_patches(image, k, [&](int64_t pixel, int64_t patch) {
                        double& largest = y[patch / (k * k * image[3]) * image[3] + pixel % image[3]];
                        largest = std::max(largest, i[0][pixel]);
                      });
                      return y;
                    }});
  }
}

}  // namespace

void add_image_rows(std::vector<OpRow>& rows) {
  add_conv_rows_of_images(rows);
  add_up_rows_of_images(rows);
  add_patch_rows(rows);
  add_resample_rows(rows);
  add_max_rows(rows);
}

}  // namespace sat::test
