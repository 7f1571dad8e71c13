// The gradient of a convolution's input: mirrored weights, and the two methods.
#include "sat/tensor/cpu/gradient/conv/input_gradient.h"

#include <algorithm>
#include <vector>

#include "sat/tensor/cpu/vector/product.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

/// Places of a mirrored weight: tap t of output o and 16 inputs lies at panel * panel_step + o * output_step + t *
/// tap_step.
struct MirroredPlaces {
  int64_t panel_step, output_step, tap_step;
};

/// The weight with outputs as inputs and its taps mirrored, in panels of 16 of the inputs that are looked at.
Tensor mirrored(const float* weight, const GradientShape& shape, const MirroredPlaces& places) {
  const int64_t panels = divide_up(shape.channels, kPanel);
  Tensor turned({panels * shape.out * kGradientTaps * kPanel});
  float* to = turned.address<float>();
  parallel_for(panels * shape.out, 16, [&](int64_t first, int64_t last) {
    for (int64_t item = first; item < last; ++item) {
      const int64_t panel = item / shape.out, o = item % shape.out;
      const int64_t lanes = std::min(kPanel, shape.channels - panel * kPanel);
      const float* from = weight + (o * shape.in + shape.first_in + panel * kPanel) * kGradientTaps;
      float* at = to + panel * places.panel_step + o * places.output_step;
      for (int64_t t = 0; t < kGradientTaps; ++t, at += places.tap_step) {
        const float* tap = from + kGradientTaps - 1 - t;
        for (int64_t lane = 0; lane < lanes; ++lane) at[lane] = tap[lane * kGradientTaps];
        std::fill(at + lanes, at + kPanel, 0.f);
      }
    }
  });
  return turned;
}

}  // namespace

void winograd_input_gradient(Tensor& dx, bool add, const float* dy, const float* weight, const GradientShape& shape,
                             WinogradKind kind) {
  const int64_t out = shape.out, channels = shape.channels;
  Tensor taps = mirrored(weight, shape, {out * kGradientTaps * kPanel, kGradientTaps * kPanel, kPanel});
  taps = taps.reshape({divide_up(channels, kPanel), out, kGradientTaps, kPanel});
  const Tensor panels = winograd_panels(taps, kind, out);
  std::vector<const void*> from(size_t(shape.out_size[0]));
  std::vector<void*> to(size_t(shape.size[0]));
  ConvSlab slab;
  slab.in_size = shape.out_size;
  slab.out_size = shape.size;
  slab.inputs[0] = {from.data(), DType::f32, out, {}};
  slab.planes = to.data();
  slab.add = add;
  slab.out = channels;
  slab.last = shape.size[0];
  for (int64_t b = 0; b < shape.batch; ++b) {
    for (int64_t h = 0; h < shape.out_size[0]; ++h) {
      from[size_t(h)] = dy + (b * shape.out_size[0] + h) * shape.out_size[1] * shape.out_size[2] * out;
    }
    for (int64_t h = 0; h < shape.size[0]; ++h) {
      to[size_t(h)] = dx.address<float>() + (b * shape.size[0] + h) * shape.size[1] * shape.size[2] * channels;
    }
    winograd_conv3d(slab, panels.address<float>(), kind, current_winograd());
  }
}

void direct_input_gradient(Tensor& dx, bool add, const float* dy, const float* weight, const GradientShape& shape,
                           const Simd& simd) {
  const int64_t out = shape.out, channels = shape.channels, panel = out * kPanel;
  const int64_t a_tap = divide_up(channels, kPanel) * panel;
  const Tensor panels = mirrored(weight, shape, {panel, kPanel, a_tap});
  float* to = dx.address<float>();
  if (!add)
    parallel_for(dx.numel(), 1 << 16, [&](int64_t first, int64_t last) { std::fill(to + first, to + last, 0.f); });
  const auto [H, W, D] = shape.size;
  const auto [OH, OW, OD] = shape.out_size;
  for (int64_t t = 0; t < kGradientTaps; ++t) {
    const int64_t tap = kGradientTaps - 1 - t;  // of the convolution
    const auto scatter = [&, H = H, W = W, D = D, OH = OH, OW = OW, OD = OD](
                             const auto& group, int64_t row, int64_t first, int64_t outputs, const float* sums) {
      const int64_t v = group.first + row;
      const int64_t h = v / OD / OW % OH * shape.stride + tap / 9 - 1;
      const int64_t w = v / OD % OW * shape.stride + tap / 3 % 3 - 1, d = v % OD * shape.stride + tap % 3 - 1;
      if (h < 0 || h >= H || w < 0 || w >= W || d < 0 || d >= D) return;
      float* at = to + (((v / OD / OW / OH * H + h) * W + w) * D + d) * channels + first;
      for (int64_t i = 0; i < outputs; ++i) at[i] += sums[i];
    };
    const Product product{panels.address<float>() + t * a_tap, shape.batch * OH * OW * OD, 1, channels, {out, 0}};
    run_product(simd, product, MatrixRows{dy, out}, scatter);
  }
}

}  // namespace sat::cpu
