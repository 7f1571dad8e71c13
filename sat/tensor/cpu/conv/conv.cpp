// Direct convolutions on the CPU: the plain form, and the vector form, in which each output voxel is a row of a blocked
// product. A tile's rows are any six consecutive voxels, so short axes waste nothing, and a tap outside the grid reads
// zeros.
#include "sat/tensor/cpu/conv/conv.h"

#include <algorithm>

#include "sat/tensor/cpu/backend.h"
#include "sat/tensor/cpu/conv/few_channels.h"
#include "sat/tensor/cpu/vector/product.h"
#include "sat/tensor/cpu/vector/vector_avx2.h"
#include "sat/tensor/half.h"
#include "sat/tensor/ops/score_sizes.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

// ---- plain ----------------------------------------------------------------------------------------------------------

void plain_conv3d(float* y, const float* x0, const float* x1, const float* panels, const float* bias,
                  const ConvShape& shape) {
  const auto [H, W, D] = shape.in_size;
  const auto [OH, OW, OD] = shape.out_size;
  const int64_t taps = shape.taps(), in = shape.in0 + shape.in1;
  const int64_t KW = shape.kernel[1], KD = shape.kernel[2];
  parallel_for(shape.batch * OH * OW, 1, [&, H = H, W = W, D = D, OH = OH, OW = OW, OD = OD](int64_t line, int64_t) {
    const int64_t b = line / (OH * OW), oh = line / OW % OH, ow = line % OW;
    for (int64_t od = 0; od < OD; ++od) {
      float* to = y + (line * OD + od) * shape.out;
      for (int64_t panel = 0; panel * 16 < shape.out; ++panel) {
        float sum[16] = {};
        for (int64_t tap = 0; tap < taps; ++tap) {
          const int64_t h = oh * shape.stride[0] + tap / (KW * KD) - shape.padding[0];
          const int64_t w = ow * shape.stride[1] + tap / KD % KW - shape.padding[1];
          const int64_t d = od * shape.stride[2] + tap % KD - shape.padding[2];
          if (h < 0 || h >= H || w < 0 || w >= W || d < 0 || d >= D) continue;
          const int64_t voxel = ((b * H + h) * W + w) * D + d;
          const float* weight = panels + (panel * taps + tap) * in * 16;
          float part[16] = {};  // a tap at a time: no f32 sum is longer than the channels
          for (int64_t i = 0; i < in; ++i) {
            const float value = i < shape.in0 ? x0[voxel * shape.in0 + i] : x1[voxel * shape.in1 + i - shape.in0];
            for (int64_t lane = 0; lane < 16; ++lane) part[lane] += value * weight[i * 16 + lane];
          }
          for (int64_t lane = 0; lane < 16; ++lane) sum[lane] += part[lane];
        }
        const int64_t width = std::min<int64_t>(16, shape.out - panel * 16);
        for (int64_t lane = 0; lane < width; ++lane) {
          to[panel * 16 + lane] = sum[lane] + (bias ? bias[panel * 16 + lane] : 0.f);
        }
      }
    }
  });
}

void plain_conv3d_counted(const ConvResult& y, const float* x0, const float* x1, const float* panels,
                          const ConvShape& shape) {
  const int64_t voxels = shape.out_size[0] * shape.out_size[1] * shape.out_size[2], out = shape.out;
  Tensor wide({shape.batch * voxels, out});
  float* values = wide.address<float>();
  plain_conv3d(values, x0, x1, panels, nullptr, shape);
  parallel_for(shape.batch * out, 1, [&](int64_t item, int64_t) {
    const float* from = values + item / out * voxels * out + item % out;
    Moments& m = y.statistics[item];
    m = {double(voxels), 0, 0};
    for (int64_t v = 0; v < voxels; ++v) m.mean += double(from[v * out]) / double(voxels);
    for (int64_t v = 0; v < voxels; ++v) m.m2 += (double(from[v * out]) - m.mean) * (double(from[v * out]) - m.mean);
  });
  parallel_for(shape.batch * voxels, 256, [&](int64_t first, int64_t last) {
    for (int64_t i = first * out; i < last * out; ++i) {
      if (y.dtype == DType::f16) {
        static_cast<f16*>(y.values)[i] = to_f16(std::clamp(values[i], -kLargestF16, kLargestF16));
      } else {
        static_cast<float*>(y.values)[i] = values[i];
      }
    }
  });
}

// ---- vector ---------------------------------------------------------------------------------------------------------

/// Output voxels as rows of a product: tap t of a row is the input voxel under position t of the kernel.
struct ConvRows {
  struct Tap {
    int64_t h, w, d, voxels;  // from the first tap
  };
  std::array<const float*, 2> x;
  const ConvShape& shape;
  std::vector<Tap> taps;

  ConvRows(const float* x0, const float* x1, const ConvShape& conv) : x{x0, x1}, shape(conv) {
    for (int64_t h = 0; h < conv.kernel[0]; ++h) {
      for (int64_t w = 0; w < conv.kernel[1]; ++w) {
        for (int64_t d = 0; d < conv.kernel[2]; ++d) {
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
        c = {h * s.stride[0] - s.padding[0], w * s.stride[1] - s.padding[1], d * s.stride[2] - s.padding[2], 0};
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

/// The product that a convolution is.
Product product_of(const float* panels, const ConvShape& shape) {
  const int64_t rows = shape.batch * shape.out_size[0] * shape.out_size[1] * shape.out_size[2];
  return {panels, rows, shape.taps(), shape.out, {shape.in0, shape.in1}};
}

void vector_conv3d(const Simd& simd, float* y, const float* x0, const float* x1, const float* panels, const float* bias,
                   const ConvShape& shape) {
  if (has_few_channels(shape)) {
    return few_channels_conv3d(simd, {y, DType::f32, nullptr}, x0, x1, panels, bias, shape);
  }
  const auto epilogue = [&](const auto& group, int64_t row, int64_t first, int64_t outputs, const float* sums) {
    float* to = y + (group.first + row) * shape.out + first;
    for (int64_t o = 0; o < outputs; ++o) to[o] = bias ? sums[o] + bias[first + o] : sums[o];
  };
  run_product(simd, product_of(panels, shape), ConvRows(x0, x1, shape), epilogue);
}

void vector_conv3d_counted(const Simd& simd, const ConvResult& y, const float* x0, const float* x1, const float* panels,
                           const ConvShape& shape) {
  if (has_few_channels(shape)) return few_channels_conv3d(simd, y, x0, x1, panels, nullptr, shape);
  const int64_t voxels = shape.out_size[0] * shape.out_size[1] * shape.out_size[2];
  ConvShape one = shape;  // a sample at a time: a run of groups counts into one sample's statistics
  one.batch = 1;
  Product product = product_of(panels, one);
  product.centred = may_centre(product);
  const int64_t pieces_count = share_of(product).count();
  std::vector<Moments> parts(size_t(pieces_count * shape.out));
  for (int64_t b = 0; b < shape.batch; ++b) {
    const auto epilogue = [&](const auto& group, int64_t row, int64_t first, int64_t outputs, const float* sums) {
      const int64_t at = (b * voxels + group.first + row) * shape.out + first;
      if (y.dtype == DType::f16) {
        avx2::narrow(static_cast<f16*>(y.values) + at, sums, outputs);
      } else {
        std::copy_n(sums, outputs, static_cast<float*>(y.values) + at);
      }
    };
    const auto count = [&](int64_t piece, int64_t first, int64_t outputs, const float* sums, int64_t rows,
                           int64_t width) {
      double mean[kTilePanels * kPanel], m2[kTilePanels * kPanel];
      avx2::moments(mean, m2, sums, rows, width);
      Moments* part = parts.data() + piece * shape.out + first;
      for (int64_t o = 0; o < outputs; ++o) part[o].merge({double(rows), mean[o], m2[o]});
    };
    std::fill(parts.begin(), parts.end(), Moments{});
    const int64_t in_voxels = shape.in_size[0] * shape.in_size[1] * shape.in_size[2] * b;
    const float* const others = x1 ? x1 + in_voxels * shape.in1 : nullptr;
    run_product(simd, product, ConvRows(x0 + in_voxels * shape.in0, others, one), epilogue, count);
    parallel_for(shape.out, 1, [&](int64_t o, int64_t) {
      Moments& whole = y.statistics[b * shape.out + o];
      whole = {};
      for (int64_t piece = 0; piece < pieces_count; ++piece) whole.merge(parts[size_t(piece * shape.out + o)]);
    });
  }
}

}  // namespace

Tensor direct_panels(const Tensor& weight) {
  const int64_t out = weight.shape[0], in = weight.shape[1];
  const int64_t taps = weight.shape[2] * weight.shape[3] * weight.shape[4], count = divide_up(out, kPanel);
  Tensor panels({count, taps, in, kPanel});
  const float* from = weight.address<float>();
  float* to = panels.address<float>();
  parallel_for(count * taps, taps, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      const int64_t panel = row / taps, tap = row % taps;
      for (int64_t i = 0; i < in; ++i) {
        float* lanes = to + (row * in + i) * kPanel;
        for (int64_t lane = 0; lane < kPanel; ++lane) {
          const int64_t o = panel * kPanel + lane;
          lanes[lane] = o < out ? from[(o * in + i) * taps + tap] : 0.f;
        }
      }
    }
  });
  return panels;
}

void conv3d_counted(const ConvResult& y, const float* x0, const float* x1, const float* panels,
                    const ConvShape& shape) {
  if (const Simd* simd = current_simd()) return vector_conv3d_counted(*simd, y, x0, x1, panels, shape);
  plain_conv3d_counted(y, x0, x1, panels, shape);
}

PackedConv3d CpuBackend::pack_conv3d(const Tensor& weight) {
  return {direct_panels(weight), weight.shape[1], weight.shape[0], grid_of(weight.shape, 2)};
}

void CpuBackend::conv3d(Tensor& y, const Tensor& x, const PackedConv3d& weight, const Tensor& bias,
                        const Conv3dOptions& options) {
  const ConvShape shape{x.shape[0], grid_of(x.shape, 1), grid_of(y.shape, 1), weight.in,      0,
                        weight.out, weight.kernel,       options.stride,      options.padding};
  float* to = y.address<float>();
  const float *from = x.address<float>(), *panels = weight.panels.address<float>(), *added = bias.address<float>();
  if (const Simd* simd = current_simd()) return vector_conv3d(*simd, to, from, nullptr, panels, added, shape);
  plain_conv3d(to, from, nullptr, panels, added, shape);
}

}  // namespace sat::cpu
