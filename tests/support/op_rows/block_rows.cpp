// Rows of blocks: convolution, instance norm and leaky ReLU, by every method of the CPU and as a backend chooses.
#include <algorithm>
#include <array>
#include <cmath>

#include "sat/tensor/cpu/conv/conv_method.h"
#include "sat/tensor/ops.h"
#include "tests/support/op_rows/op_rows.h"

namespace sat::test {

namespace {

using cpu::conv_methods;
using cpu::ConvMethod;
using cpu::ConvMethodInfo;
using cpu::info_of;

constexpr float kSlope = 0.01f, kEps = 1e-5f;

struct Case {
  std::array<int64_t, 3> size;
  int64_t batch, in, out;
};

/// `method` empty: as the backend chooses.
void add_block_row(std::vector<OpRow>& rows, const Case& c, int64_t stride, const std::string& method,
                   Tolerance tolerance, DType held = DType::f32) {
  const Shape grid{c.batch, c.size[0], c.size[1], c.size[2], c.in};
  const auto run = [=](const Tensors& i) {
    ConvSite site;
    site.stride = stride;
    site.variant = method;
    site.input = held;
    ConvBlockWeight weight = pack_conv_block(i[4], site);
    if (held != DType::f32) weight.store = held;
    return materialize(conv3d_norm({i[0], i[1], i[2], i[3], kSlope}, weight, {i[5], i[6], kEps, kSlope}));
  };
  const auto defined = [=](const Arrays& i) {
    const Doubles x = taken(i[0], i[1], i[2], i[3], double(kSlope));
    return normed(convolved(x, i[4], {stride, 1}), i[5], i[6], double(kEps), double(kSlope));
  };
  rows.push_back({words("conv3d_norm of ", c.batch, " x [", c.size[0], ", ", c.size[1], ", ", c.size[2], "], ", c.in,
                        " -> ", c.out, ", stride ", stride, ", ", held, method.empty() ? "" : " by ", method),
                  {{"x", grid, 1, 0, held},
                   {"center", {c.batch, c.in}, 0.2},
                   {"factor", {c.batch, c.in}, 0.5, 1},
                   {"shift", {c.batch, c.in}, 0.5},
                   {"weight", {c.out, c.in, 3, 3, 3}, 2 / std::sqrt(27. * double(c.in)), 0, DType::f32, true},
                   {"gain", {c.out}, 0.3, 1},
                   {"bias", {c.out}, 0.5}},
                  run,
                  defined,
                  tolerance,
                  !method.empty(),
                  method == info_of(ConvMethod::amx_bf16).name});
  rows.back().gradient = Gradient::elsewhere;
}

/// What a norm's gradient needs: 1 / sqrt(variance + eps) of each sample's channels.
void add_deviation_row(std::vector<OpRow>& rows, const Case& c, int64_t stride) {
  rows.push_back({words("conv3d_norm's rstd, stride ", stride),
                  {{"x", {c.batch, c.size[0], c.size[1], c.size[2], c.in}},
                   {"weight", {c.out, c.in, 3, 3, 3}, 2 / std::sqrt(27. * double(c.in)), 0, DType::f32, true},
                   {"gain", {c.out}, 0.3, 1},
                   {"bias", {c.out}, 0.5}},
                  [=](const Tensors& i) {
                    ConvSite site;
                    site.stride = stride;
                    return conv3d_norm({i[0]}, pack_conv_block(i[1], site), {i[2], i[3], kEps, kSlope}).rstd;
                  },
                  [=](const Arrays& i) {
                    const Doubles y = convolved(i[0], i[1], {stride, 1});
                    const int64_t out = c.out, voxels = y.numel() / (c.batch * out);
                    Doubles rstd(Shape({c.batch, out}));
                    for (int64_t n = 0; n < rstd.numel(); ++n) {
                      const auto at = [&](int64_t v) { return y[(n / out * voxels + v) * out + n % out]; };
                      double mean = 0, variance = 0;
                      for (int64_t v = 0; v < voxels; ++v) mean += at(v) / double(voxels);
                      for (int64_t v = 0; v < voxels; ++v) variance += (at(v) - mean) * (at(v) - mean) / double(voxels);
                      rstd[n] = 1 / std::sqrt(variance + double(kEps));
                    }
                    return rstd;
                  },
                  {1e-5, 0}});
  rows.back().gradient = Gradient::elsewhere;
}

void add_up_row(std::vector<OpRow>& rows, const std::array<int64_t, 3>& low, const std::string& method,
                Tolerance tolerance) {
  const int64_t in = 20, middle = 16, others = 16, out = 16;
  const auto [H, W, D] = low;
  const auto run = [=](const Tensors& i) {
    ConvSite site;
    site.variant = method;
    const UpBlockWeight weight = pack_up_block(i[10], i[8], i[9], site);
    return materialize(conv3d_norm_up({i[0], i[1], i[2], i[3], kSlope}, {i[4], i[5], i[6], i[7], kSlope}, weight,
                                      {i[11], i[12], kEps, kSlope}));
  };
  const auto defined = [](const Arrays& i) {
    const Doubles up = up_sampled(taken(i[0], i[1], i[2], i[3], double(kSlope)), i[8], i[9]);
    const Doubles x = joined(up, taken(i[4], i[5], i[6], i[7], double(kSlope)));
    return normed(convolved(x, i[10], {1, 1}), i[11], i[12], double(kEps), double(kSlope));
  };
  rows.push_back({words("conv3d_norm_up of [", H, ", ", W, ", ", D, "]", method.empty() ? "" : " by ", method),
                  {{"x", {1, H, W, D, in}},
                   {"center", {1, in}, 0.2},
                   {"factor", {1, in}, 0.5, 1},
                   {"shift", {1, in}, 0.5},
                   {"skip", {1, 2 * H, 2 * W, 2 * D, others}},
                   {"skip center", {1, others}, 0.2},
                   {"skip factor", {1, others}, 0.5, 1},
                   {"skip shift", {1, others}, 0.5},
                   {"up", {in, middle, 2, 2, 2}, 0.3, 0, DType::f32, true},
                   {"up bias", {middle}, 0.3, 0, DType::f32, true},
                   {"weight", {out, middle + others, 3, 3, 3}, 0.06, 0, DType::f32, true},
                   {"gain", {out}, 0.3, 1},
                   {"bias", {out}, 0.5}},
                  run,
                  defined,
                  tolerance,
                  !method.empty(),
                  method == info_of(ConvMethod::amx_bf16).name});
  rows.back().gradient = Gradient::elsewhere;
}

/// Residual blocks: the norm of values that are there, and the sum of two volumes with pending norms.
void add_residual_rows(std::vector<OpRow>& rows) {
  for (const Shape& grid :
       {Shape{1, 1, 1, 1, 5}, Shape{2, 3, 17, 4, 21}, Shape{1, 33, 5, 7, 8}, Shape{2, 5, 4, 31, 64}}) {
    const int64_t channels = grid[4];
    rows.push_back({words("instance_norm of ", grid),
                    {{"x", grid, 1, 3}, {"gain", {channels}, 0.3, 1}, {"bias", {channels}, 0.5}},
                    [](const Tensors& i) {
                      return materialize(instance_norm(i[0], {i[1], i[2], kEps, kSlope}));
                    },
                    [](const Arrays& i) { return normed(i[0], i[1], i[2], double(kEps), double(kSlope)); },
                    {1e-5, 1e-5}});
  }
  const Shape grid{2, 3, 17, 4, 21}, norm{2, 21};
  const auto summed = [](const Doubles& a, const Doubles& b) {
    Doubles y(a.shape);
    for (int64_t at = 0; at < y.numel(); ++at) {
      const double sum = a[at] + b[at];
      y[at] = sum < 0 ? double(kSlope) * sum : sum;
    }
    return y;
  };
  rows.push_back({"sum_features of final values",
                  {{"a", grid}, {"b", grid}},
                  [](const Tensors& i) { return materialize(sum_features({i[0]}, {i[1]}, kSlope)); },
                  [=](const Arrays& i) { return summed(i[0], i[1]); },
                  {1e-6, 1e-6}});
  for (const DType first : {DType::f32, DType::f16}) {
    rows.push_back(
        {words("sum_features of ", first, " with a pending norm and f32 with another"),
         {{"a", grid, 1, 0, first},
          {"a center", norm, 0.2},
          {"a factor", norm, 0.5, 1},
          {"a shift", norm, 0.5},
          {"b", grid},
          {"b center", norm, 0.2},
          {"b factor", norm, 0.5, 1},
          {"b shift", norm, 0.5}},
         [](const Tensors& i) {
           return materialize(sum_features({i[0], i[1], i[2], i[3], 1}, {i[4], i[5], i[6], i[7], 0.2f}, kSlope));
         },
         [=](const Arrays& i) {
           return summed(taken(i[0], i[1], i[2], i[3], 1), taken(i[4], i[5], i[6], i[7], double(0.2f)));
         },
         {2e-6, 2e-6}});
    rows.back().gradient = Gradient::elsewhere;
  }
}

Tolerance both(double bound) { return {bound, bound}; }

}  // namespace

void add_block_rows(std::vector<OpRow>& rows) {
  const std::vector<Case> cases = {{{1, 1, 1}, 1, 3, 5},   {{2, 1, 3}, 2, 8, 17},   {{15, 2, 5}, 1, 24, 8},
                                   {{3, 17, 4}, 1, 1, 48}, {{5, 4, 31}, 1, 16, 16}, {{1, 33, 2}, 1, 48, 3},
                                   {{7, 9, 6}, 2, 20, 65}, {{4, 4, 4}, 1, 96, 24}};
  for (const int64_t stride : {1, 2}) {
    for (const Case& c : cases) {
      add_block_row(rows, c, stride, "", both(2e-4));
      for (const ConvMethodInfo& info : conv_methods()) {
        if (info.stride != 0 && info.stride != stride) continue;
        add_block_row(rows, c, stride, info.name, both(std::max(2e-4, 10 * info.error)));
      }
    }
  }
  for (const ConvMethodInfo& info : conv_methods()) {
    const int64_t stride = std::max<int64_t>(1, info.stride);
    add_block_row(rows, {{7, 9, 6}, 1, 20, 33}, stride, info.name, both(std::max(2e-3, 10 * info.error)), DType::f16);
  }
  add_residual_rows(rows);
  for (const int64_t stride : {1, 2}) add_deviation_row(rows, {{5, 4, 31}, 2, 16, 24}, stride);
  add_up_row(rows, {30, 3, 4}, "", both(1e-4));
  for (const ConvMethod method :
       {ConvMethod::direct, ConvMethod::winograd_222, ConvMethod::winograd_644, ConvMethod::amx_bf16}) {
    add_up_row(rows, {30, 3, 4}, info_of(method).name, both(std::max(1e-4, 10 * info_of(method).error)));
  }
}

}  // namespace sat::test
