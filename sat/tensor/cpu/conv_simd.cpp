// Convolutions on the CPU, vector forms: direct, each output voxel a row of a blocked product.
// A tile's rows are any six consecutive voxels, so short axes waste nothing, and a tap outside the grid reads zeros.
#include <algorithm>

#include "sat/tensor/cpu/kernels.h"
#include "sat/tensor/cpu/vector/product.h"

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
      const float* values = rows.x[size_t(terms.input)] + terms.channel;
      const int64_t channels = terms.input ? rows.shape.in1 : rows.shape.in0;
      const auto H = uint64_t(rows.shape.in_size[0]), W = uint64_t(rows.shape.in_size[1]);
      const auto D = uint64_t(rows.shape.in_size[2]);
      for (int64_t t = 0; t < terms.taps; ++t) {
        const Tap& tap = rows.taps[size_t(terms.tap + t)];
        for (int64_t r = 0; r < kTileRows; ++r) {
          const Corner& c = corners[row + r];
          const bool inside = (uint64_t(c.h + tap.h) < H) & (uint64_t(c.w + tap.w) < W) & (uint64_t(c.d + tap.d) < D);
          pointers[t * kTileRows + r] = inside ? values + (c.voxel + tap.voxels) * channels : kZeros;
        }
      }
    }
  };
};

/// The same voxels where inputs have so few channels that a tap is too short for a tile: all taps of a row are gathered
/// side by side, as one long tap.
struct GatheredRows {
  ConvRows rows;

  GatheredRows(const float* x0, const float* x1, const ConvShape& conv) : rows(x0, x1, conv) {}

  struct Group {
    int64_t first, terms;
    std::vector<float> gathered;

    Group(const GatheredRows& from, int64_t first_row, int64_t count) : first(first_row) {
      const ConvRows& source = from.rows;
      const ConvShape& shape = source.shape;
      const ConvRows::Group voxels(source, first_row, count);
      const int64_t in = shape.in0 + shape.in1;
      terms = int64_t(source.taps.size()) * in;
      gathered.assign(size_t(pieces(count, kTileRows) * kTileRows * terms), 0.f);
      for (int64_t row = 0; row < count; ++row) {
        const ConvRows::Group::Corner& corner = voxels.corners[row];
        const auto inside = [](int64_t at, int64_t size) { return uint64_t(at) < uint64_t(size); };
        const int64_t first_d = std::max<int64_t>(0, -corner.d);
        const int64_t last_d = std::min(shape.kernel, shape.in_size[2] - corner.d);
        for (int64_t line = 0; line < shape.kernel * shape.kernel; ++line) {  // the taps of a line lie side by side
          const ConvRows::Tap& tap = source.taps[size_t(line * shape.kernel)];
          if (!inside(corner.h + tap.h, shape.in_size[0]) || !inside(corner.w + tap.w, shape.in_size[1])) continue;
          float* to = gathered.data() + row * terms + line * shape.kernel * in;
          const int64_t voxel = corner.voxel + tap.voxels;
          if (shape.in1 == 0) {
            const float* x = source.x[0] + voxel * in;
            for (int64_t i = first_d * in; i < last_d * in; ++i) to[i] = x[i];
            continue;
          }
          for (int64_t d = first_d; d < last_d; ++d) {
            for (int64_t c = 0; c < shape.in0; ++c) to[d * in + c] = source.x[0][(voxel + d) * shape.in0 + c];
            for (int64_t c = 0; c < shape.in1; ++c) {
              to[d * in + shape.in0 + c] = source.x[1][(voxel + d) * shape.in1 + c];
            }
          }
        }
      }
    }
    void point(const float** pointers, int64_t row, const Terms& part) const {
      for (int64_t r = 0; r < kTileRows; ++r) pointers[r] = gathered.data() + (row + r) * terms + part.channel;
    }
  };
};

constexpr int64_t kFewChannels = 4;

/// The product that a convolution of one sample or more is.
Product product_of(const float* panels, const ConvShape& shape) {
  const int64_t rows = shape.batch * shape.out_size[0] * shape.out_size[1] * shape.out_size[2];
  const int64_t taps = shape.kernel * shape.kernel * shape.kernel, in = shape.in0 + shape.in1;
  if (in <= kFewChannels) return {panels, rows, 1, shape.out, {taps * in, 0}};
  return {panels, rows, taps, shape.out, {shape.in0, shape.in1}};
}

template <class Finish, class After>
void run_conv(const Simd& simd, const Product& product, const float* x0, const float* x1, const ConvShape& shape,
              const Finish& finish, const After& after) {
  if (shape.in0 + shape.in1 <= kFewChannels) {
    run_product(simd, product, GatheredRows(x0, x1, shape), finish, after);
  } else {
    run_product(simd, product, ConvRows(x0, x1, shape), finish, after);
  }
}

}  // namespace

void simd_conv3d(const Simd& simd, float* y, const float* x0, const float* x1, const float* panels, const float* bias,
                 const ConvShape& shape) {
  const auto finish = [&](const auto& group, int64_t row, int64_t first, int64_t outputs, const float* sums) {
    float* to = y + (group.first + row) * shape.out + first;
    for (int64_t o = 0; o < outputs; ++o) to[o] = bias ? sums[o] + bias[first + o] : sums[o];
  };
  run_conv(simd, product_of(panels, shape), x0, x1, shape, finish,
           [](int64_t, int64_t, int64_t, const float*, int64_t, int64_t) {});
}

void simd_conv3d_counted(const Simd& simd, const ConvResult& y, const float* x0, const float* x1, const float* panels,
                         const ConvShape& shape) {
  const int64_t voxels = shape.out_size[0] * shape.out_size[1] * shape.out_size[2];
  ConvShape one = shape;  // a sample at a time: a run of groups counts into one sample's statistics
  one.batch = 1;
  Product product = product_of(panels, one);
  product.centred = may_centre(product);
  const int64_t pieces_count = share_of(product).count();
  std::vector<Moments> parts(size_t(pieces_count * shape.out));
  for (int64_t b = 0; b < shape.batch; ++b) {
    const auto finish = [&](const auto& group, int64_t row, int64_t first, int64_t outputs, const float* sums) {
      const int64_t at = (b * voxels + group.first + row) * shape.out + first;
      if (y.dtype == DType::f16) {
        simd.narrow(static_cast<f16*>(y.values) + at, sums, outputs);
      } else {
        std::copy_n(sums, outputs, static_cast<float*>(y.values) + at);
      }
    };
    const auto count = [&](int64_t piece, int64_t first, int64_t outputs, const float* sums, int64_t rows,
                           int64_t width) {
      double mean[kTilePanels * kPanel], m2[kTilePanels * kPanel];
      simd.moments(mean, m2, sums, rows, width);
      Moments* part = parts.data() + piece * shape.out + first;
      for (int64_t o = 0; o < outputs; ++o) part[o].merge({double(rows), mean[o], m2[o]});
    };
    std::fill(parts.begin(), parts.end(), Moments{});
    const int64_t in_voxels = shape.in_size[0] * shape.in_size[1] * shape.in_size[2] * b;
    run_conv(simd, product, x0 + in_voxels * shape.in0, x1 ? x1 + in_voxels * shape.in1 : nullptr, one, finish, count);
    parallel_for(shape.out, 1, [&](int64_t o, int64_t) {
      Moments& whole = y.statistics[b * shape.out + o];
      whole = {};
      for (int64_t piece = 0; piece < pieces_count; ++piece) whole.merge(parts[size_t(piece * shape.out + o)]);
    });
  }
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
