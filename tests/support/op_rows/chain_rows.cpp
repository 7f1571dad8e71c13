// Rows of several ops, one behind another, for gradients that a row of one op cannot check: those through a pending
// norm, of a volume that two ops read, of a bias that a softmax reads, of weights that are rearranged.
#include <array>
#include <cmath>

#include "sat/tensor/ops.h"
#include "tests/support/op_rows/op_rows.h"

namespace sat::test {

namespace {

constexpr float kSlope = 0.01f, kEps = 1e-5f;

double of_inputs(int64_t in) { return 2 / std::sqrt(27. * double(in)); }

OpInput volume(const Shape& grid) { return {"x", grid, 1, 0.5}; }
OpInput gain(const std::string& name, int64_t channels) { return {name + " gain", {channels}, 0.3, 1}; }
OpInput bias(const std::string& name, int64_t channels) { return {name + " bias", {channels}, 0.5}; }
OpInput kernel(const std::string& name, int64_t in, int64_t out) {
  return {name, {out, in, 3, 3, 3}, of_inputs(in), 0, DType::f32, true};
}

Features first_norm(const Tensors& i, size_t x = 0) { return instance_norm(i[x], {i[x + 1], i[x + 2], kEps, kSlope}); }
Doubles first_norm(const Arrays& i, size_t x = 0) {
  return normed(i[x], i[x + 1], i[x + 2], double(kEps), double(kSlope));
}

ConvBlockWeight packed(const Tensor& weight, int64_t stride, DType input = DType::f32) {
  ConvSite site;
  site.stride = stride;
  site.input = input;
  return pack_conv_block(weight, site);
}

Doubles block(const Doubles& x, const Arrays& i, size_t weight, int64_t stride) {
  return normed(convolved(x, i[weight], {stride, 1}), i[weight + 1], i[weight + 2], double(kEps), double(kSlope));
}

/// A block of a volume with a pending norm: x, its norm, weight, norm.
void add_block_rows_of_norms(std::vector<OpRow>& rows) {
  struct Case {
    Shape grid;
    int64_t out, stride;
  };
  for (const Case& c : {Case{{1, 2, 1, 3, 3}, 5, 1},
                        {{2, 5, 4, 7, 17}, 8, 1},
                        {{1, 4, 9, 6, 48}, 16, 1},
                        {{1, 3, 3, 14, 1}, 33, 1},
                        {{2, 5, 4, 7, 20}, 17, 2},
                        {{1, 7, 9, 5, 16}, 24, 2},
                        {{1, 1, 2, 5, 2}, 3, 2}}) {
    const int64_t in = c.grid[4];
    for (const DType held : {DType::f32, DType::f16}) {
      rows.push_back(
          {words("conv3d_norm of a norm of ", c.grid, " -> ", c.out, ", stride ", c.stride, ", held as ", held),
           {volume(c.grid), gain("first", in), bias("first", in), kernel("weight", in, c.out), gain("second", c.out),
            bias("second", c.out)},
           [=](const Tensors& i) {
             ConvBlockWeight weight = packed(i[3], c.stride);
             weight.store = held;
             return materialize(conv3d_norm(first_norm(i), weight, {i[4], i[5], kEps, kSlope}));
           },
           [=](const Arrays& i) { return block(first_norm(i), i, 3, c.stride); },
           held == DType::f32 ? Tolerance{2e-4, 2e-4} : Tolerance{4e-3, 4e-3}});
      rows.back().gradient_error = held == DType::f32 ? 1e-4 : 1e-2;
    }
  }
}

/// Two blocks down, and one back up that reads the first again.
void add_up_rows_of_norms(std::vector<OpRow>& rows) {
  const int64_t in = 3, top = 12, low = 17, middle = 9, out = 10;
  for (const Shape& grid : {Shape{1, 4, 6, 2, in}, Shape{2, 6, 2, 4, in}}) {
    rows.push_back({words("a U of ", grid),
                    {volume(grid),
                     kernel("top", in, top),
                     gain("top", top),
                     bias("top", top),
                     kernel("low", top, low),
                     gain("low", low),
                     bias("low", low),
                     {"up", {low, middle, 2, 2, 2}, 0.3, 0, DType::f32, true},
                     {"up bias", {middle}, 0.3, 0, DType::f32, true},
                     kernel("last", middle + top, out),
                     gain("last", out),
                     bias("last", out)},
                    [](const Tensors& i) {
                      const Features skip = conv3d_norm({i[0]}, packed(i[1], 1), {i[2], i[3], kEps, kSlope});
                      const Features below = conv3d_norm(skip, packed(i[4], 2), {i[5], i[6], kEps, kSlope});
                      const UpBlockWeight weight = pack_up_block(i[9], i[7], i[8], {});
                      return materialize(conv3d_norm_up(below, skip, weight, {i[10], i[11], kEps, kSlope}));
                    },
                    [](const Arrays& i) {
                      const Doubles skip = block(i[0], i, 1, 1);
                      return block(joined(up_sampled(block(skip, i, 4, 2), i[7], i[8]), skip), i, 9, 1);
                    },
                    {1e-3, 1e-3}});
    rows.back().gradient_error = 1e-4;
  }
}

void add_readers_of_norms(std::vector<OpRow>& rows) {
  const Shape grid{2, 4, 6, 2, 13};
  const std::vector<OpInput> one = {volume(grid), gain("first", 13), bias("first", 13)};
  rows.push_back({"avg_pool3d of a norm, added to the norm's materialized first voxels",
                  one,
                  [](const Tensors& i) {
                    const Features x = first_norm(i);
                    return add(avg_pool3d(x, 2), slice(reshape(materialize(x), {96, 13}), 0, 1));
                  },
                  [](const Arrays& i) {
                    const Doubles x = first_norm(i);
                    Doubles y(Shape{2, 2, 3, 1, 13});
                    for (int64_t at = 0; at < x.numel(); ++at) {
                      const int64_t h = at / 156 / 2 % 2, w = at / 26 / 2 % 3, c = at % 13;
                      y[((at / 624 * 2 + h) * 3 + w) * 13 + c] += x[at] / 8;
                    }
                    for (int64_t at = 0; at < y.numel(); ++at) y[at] += x[at % 13];
                    return y;
                  },
                  {2e-5, 2e-5}});
  rows.push_back({"one sample's features of a norm",
                  one,
                  [](const Tensors& i) { return materialize(slice(first_norm(i), 1, 2)); },
                  [](const Arrays& i) {
                    const Doubles x = first_norm(i);
                    Doubles y(Shape{1, 4, 6, 2, 13});
                    std::copy(x.values.begin() + y.numel(), x.values.end(), y.values.begin());
                    return y;
                  },
                  {2e-5, 2e-5}});
  rows.push_back(
      {"sum_features of two norms",
       {volume(grid), gain("first", 13), bias("first", 13), {"z", grid, 2}, gain("second", 13), bias("second", 13)},
       [](const Tensors& i) { return materialize(sum_features(first_norm(i), first_norm(i, 3), kSlope)); },
       [](const Arrays& i) {
         Doubles y = first_norm(i);
         const Doubles other = first_norm(i, 3);
         for (int64_t at = 0; at < y.numel(); ++at) {
           const double sum = y[at] + other[at];
           y[at] = sum < 0 ? double(kSlope) * sum : sum;
         }
         return y;
       },
       {2e-5, 2e-5}});
}

/// Two losses of one volume's features, as the second's gradient is added to the first's.
void add_mask_losses_of_norms(std::vector<OpRow>& rows) {
  const Shape grid{2, 5, 4, 11, 32};
  rows.push_back(
      {"two mask losses of a norm's features",
       {volume(grid),
        gain("first", 32),
        bias("first", 32),
        {"masks", {2, 5, 32}, 0.6},
        {"others", {2, 19, 32}, 0.6},
        {"bits", grid.with(4, 1), 127.9, 127.9, DType::u8},
        {"other bits", grid.with(4, 3), 127.9, 127.9, DType::u8},
        {"counted", {2, 5}, 0.5, 0.5, DType::f32, true, true},
        {"others counted", {2, 19}, 0.5, 0.5, DType::f32, true, true}},
       [](const Tensors& i) {
         const Features x = first_norm(i);
         return add(mask_loss(x, i[3], {i[5], i[7]}, 0.75f).total, mask_loss(x, i[4], {i[6], i[8]}, 0.5f).total);
       },
       [](const Arrays& i) {
         const Doubles x = first_norm(i);
         Doubles total = mask_loss_defined(x, i[3], i[5], i[7], 0.75);
         total[0] += mask_loss_defined(x, i[4], i[6], i[8], 0.5)[0];
         return total;
       },
       {2e-6, 1e-7}});
}

/// Relative buckets of padded texts, as BERT's attention reads them: a key that is padding has no gradient.
void add_bias_rows_of_texts(std::vector<OpRow>& rows) {
  const int64_t heads = 3, width = 8, C = heads * width;
  const std::vector<int64_t> first = {0, 9, 10, 14};
  const std::vector<uint8_t> attended = {1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 1};
  std::vector<int64_t> buckets;
  for (int64_t i = 0; i < 17; ++i) buckets.push_back(i * 7 % 5);
  rows.push_back(
      {"attention with a bias of padded texts",
       {{"q", {14, C}, 2}, {"k", {14, C}, 2}, {"v", {14, C}}, {"table", {5, heads}, 2}},
       [=](const Tensors& i) {
         return attention(i[0], i[1], i[2], heads, {first, first}, attention_bias(i[3], buckets, first, attended));
       },
       [=](const Arrays& i) {
         Doubles y(i[0].shape);
         for (int64_t row = 0; row < 14 * heads; ++row) {
           const int64_t query = row % 14, head = row / 14;
           const int64_t text = query < 9 ? 0 : query < 10 ? 1 : 2, from = first[size_t(text)];
           double total = 0;
           std::vector<double> sums(size_t(width), 0.);
           for (int64_t key = from; key < first[size_t(text) + 1]; ++key) {
             if (attended[size_t(key)] == 0) continue;
             double dot = i[3][buckets[size_t(key - query + 8)] * heads + head];
             for (int64_t c = head * width; c < (head + 1) * width; ++c) {
               dot += i[0][query * C + c] * i[1][key * C + c] / std::sqrt(double(width));
             }
             const double weight = std::exp(dot);
             total += weight;
             for (int64_t c = 0; c < width; ++c) sums[size_t(c)] += weight * i[2][key * C + head * width + c];
           }
           for (int64_t c = 0; c < width; ++c) y[query * C + head * width + c] = sums[size_t(c)] / total;
         }
         return y;
       },
       {4e-6, 4e-6}});
}

}  // namespace

void add_chain_rows(std::vector<OpRow>& rows) {
  add_block_rows_of_norms(rows);
  add_up_rows_of_norms(rows);
  add_readers_of_norms(rows);
  add_mask_losses_of_norms(rows);
  add_bias_rows_of_texts(rows);
}

}  // namespace sat::test
