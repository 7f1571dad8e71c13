// Convolutions on the CPU, vector forms: direct, each output voxel a row of a blocked product.
// A tile's rows are any six consecutive voxels, so short axes waste nothing, and a tap outside the grid reads zeros.
#include <algorithm>

#include "sat/tensor/kernels.h"
#include "sat/tensor/product.h"

namespace sat::cpu {

namespace {

/// Output voxels as rows of a product: tap t of a row is the input voxel under position t of the kernel.
struct ConvRows {
  struct Tap {
    int64_t h, w, d, voxels;  // from the first tap
  };
  std::array<const float*, 2> x;
  const ConvShape& shape;
  std::vector<Tap> taps;

  ConvRows(const float* x0, const float* x1, const ConvShape& conv) : x{x0, x1}, shape(conv) {
    for (int64_t h = 0; h < conv.kernel; ++h) {
      for (int64_t w = 0; w < conv.kernel; ++w) {
        for (int64_t d = 0; d < conv.kernel; ++d) {
          taps.push_back({h, w, d, (h * conv.in_size[1] + w) * conv.in_size[2] + d});
        }
      }
    }
  }

  struct Group {
    struct Corner {
      int64_t h, w, d, voxel;  // of the first tap, possibly outside the grid
    };
    const ConvRows& rows;
    int64_t first;
    Corner corners[kGroupRows];

    Group(const ConvRows& from, int64_t first_row, int64_t count) : rows(from), first(first_row) {
      const ConvShape& s = rows.shape;
      const auto [OH, OW, OD] = s.out_size;
      int64_t d = first % OD, w = first / OD % OW, h = first / OD / OW % OH, b = first / OD / OW / OH;
      for (int64_t row = 0; row < count; ++row) {
        Corner& c = corners[row];
        c = {h * s.stride - s.padding, w * s.stride - s.padding, d * s.stride - s.padding, 0};
        c.voxel = ((b * s.in_size[0] + c.h) * s.in_size[1] + c.w) * s.in_size[2] + c.d;
        if (++d < OD) continue;
        d = 0;
        if (++w < OW) continue;
        w = 0;
        if (++h < OH) continue;
        h = 0;
        ++b;
      }
      for (int64_t row = count; row % kTileRows; ++row) corners[row] = {INT64_MIN / 2, 0, 0, 0};
    }

    void point(const float** pointers, int64_t row, const Terms& terms) const {
      const float* x = rows.x[size_t(terms.input)] + terms.channel;
      const int64_t channels = terms.input ? rows.shape.in1 : rows.shape.in0;
      const auto H = uint64_t(rows.shape.in_size[0]), W = uint64_t(rows.shape.in_size[1]);
      const auto D = uint64_t(rows.shape.in_size[2]);
      for (int64_t t = 0; t < terms.taps; ++t) {
        const Tap& tap = rows.taps[size_t(terms.tap + t)];
        for (int64_t r = 0; r < kTileRows; ++r) {
          const Corner& c = corners[row + r];
          const bool inside = (uint64_t(c.h + tap.h) < H) & (uint64_t(c.w + tap.w) < W) & (uint64_t(c.d + tap.d) < D);
          pointers[t * kTileRows + r] = inside ? x + (c.voxel + tap.voxels) * channels : kZeros;
        }
      }
    }
  };
};

}  // namespace

void simd_conv3d(const Simd& simd, float* y, const float* x0, const float* x1, const float* panels, const float* bias,
                 const ConvShape& shape) {
  const int64_t rows = shape.batch * shape.out_size[0] * shape.out_size[1] * shape.out_size[2];
  const Product product{panels, rows, shape.kernel * shape.kernel * shape.kernel, shape.out, {shape.in0, shape.in1}};
  const auto finish = [&](const ConvRows::Group& group, int64_t row, int64_t first, int64_t outputs,
                          const float* sums) {
    float* to = y + (group.first + row) * shape.out + first;
    for (int64_t o = 0; o < outputs; ++o) to[o] = bias ? sums[o] + bias[first + o] : sums[o];
  };
  run_product(simd, product, ConvRows(x0, x1, shape), finish);
}

void simd_conv_transpose3d(const Simd& simd, float* y, const float* x, const float* panels, const float* bias,
                           int64_t batch, std::array<int64_t, 3> size, int64_t in, int64_t out) {
  const auto [H, W, D] = size;
  const Product product{panels, batch * H * W * D, 1, 8 * out, {in, 0}};
  const auto finish = [&, W = W, D = D](const MatrixRows::Group& group, int64_t row, int64_t first, int64_t outputs,
                                        const float* sums) {
    const int64_t voxel = group.first + row, d = voxel % D, w = voxel / D % W;
    const int64_t bh = voxel / D / W;  // counts samples and rows together: both double alike
    for (int64_t done = 0; done < outputs;) {
      const int64_t corner = (first + done) / out, o = (first + done) % out;
      const int64_t run = std::min(out - o, outputs - done);
      const int64_t row_to = 2 * bh + corner / 4, column = 2 * w + corner / 2 % 2, slice = 2 * d + corner % 2;
      float* to = y + ((row_to * 2 * W + column) * 2 * D + slice) * out + o;
      for (int64_t i = 0; i < run; ++i) to[i] = bias ? sums[done + i] + bias[o + i] : sums[done + i];
      done += run;
    }
  };
  run_product(simd, product, MatrixRows{x, in}, finish);
}

}  // namespace sat::cpu
