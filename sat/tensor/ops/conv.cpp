// Convolutions: weight packing, checks and allocation.
#include "sat/tensor/accelerator.h"
#include "sat/tensor/cpu/amx/amx_conv.h"
#include "sat/tensor/cpu/kernels.h"
#include "sat/tensor/cpu/winograd/winograd.h"
#include "sat/tensor/ops.h"
#include "sat/tensor/parallel.h"
#include "sat/tensor/profile.h"

namespace sat {

namespace {

Tensor direct_panels(const Tensor& weight) {
  const int64_t out = weight.shape[0], in = weight.shape[1];
  const int64_t taps = weight.shape[2] * weight.shape[3] * weight.shape[4], count = (out + 15) / 16;
  const Tensor panels({count, taps, in, 16});
  const float* from = weight.data<float>();
  float* to = panels.data<float>();
  parallel_for(count, 1, [&](int64_t panel, int64_t) {
    for (int64_t tap = 0; tap < taps; ++tap) {
      for (int64_t i = 0; i < in; ++i) {
        float* lanes = to + ((panel * taps + tap) * in + i) * 16;
        for (int64_t lane = 0; lane < 16; ++lane) {
          const int64_t o = panel * 16 + lane;
          lanes[lane] = o < out ? from[(o * in + i) * taps + tap] : 0.f;
        }
      }
    }
  });
  return panels;
}

}  // namespace

PackedConv3d pack_conv3d(const Tensor& weight, ConvMethod method, int64_t first_in, DType input) {
  SAT_CHECK(weight.shape.rank() == 5 && weight.shape[2] == weight.shape[3] && weight.shape[3] == weight.shape[4],
            "pack_conv3d: weight has shape ", weight.shape, ", needs [out, in, k, k, k]");
  PackedConv3d packed;
  packed.out = weight.shape[0];
  packed.in = weight.shape[1];
  packed.kernel = weight.shape[2];
  packed.method = method;
  packed.first_in = first_in > 0 ? first_in : packed.in;
  SAT_CHECK(packed.first_in <= packed.in, "pack_conv3d: ", first_in, " of ", packed.in, " input channels");
  if (Context::current().accelerator()) {
    SAT_CHECK(packed.kernel == 3, "pack_conv3d: a device needs a 3x3x3 kernel, not ", packed.kernel);
    packed.panels = accelerator().pack_conv3d(weight, packed.first_in, input);
  } else if (method == ConvMethod::direct) {
    packed.panels = direct_panels(weight);
  } else if (method == ConvMethod::amx_bf16) {
    packed.panels = cpu::pack_amx_conv3d(weight);
  } else {
    SAT_CHECK(packed.kernel == 3, "pack_conv3d: ", info_of(method).name, " needs a 3x3x3 kernel, not ", packed.kernel);
    packed.panels = cpu::pack_winograd(weight, cpu::winograd_kind(method), packed.first_in);
  }
  return packed;
}

namespace {

Tensor run_conv3d(const Tensor& x, const Tensor* skip, const PackedConv3d& weight, const Tensor& bias,
                  Conv3dOptions options) {
  SAT_CHECK(x.shape.rank() == 5, "conv3d: x has shape ", x.shape, ", needs [B, H, W, D, C]");
  SAT_CHECK(!skip || skip->shape.with(4, 0) == x.shape.with(4, 0), "conv3d: inputs of shapes ", x.shape, " and ",
            skip ? skip->shape : Shape(), " do not lie on one grid");
  SAT_CHECK(weight.method == ConvMethod::direct, "conv3d: the weight is packed for ", info_of(weight.method).name);
  SAT_CHECK(options.stride >= 1 && options.padding >= 0, "conv3d: stride ", options.stride, ", padding ",
            options.padding);
  cpu::ConvShape shape{};
  shape.batch = x.shape[0];
  shape.in0 = x.shape[4];
  shape.in1 = skip ? skip->shape[4] : 0;
  shape.out = weight.out;
  shape.kernel = weight.kernel;
  shape.stride = options.stride;
  shape.padding = options.padding;
  SAT_CHECK(shape.in0 + shape.in1 == weight.in, "conv3d: ", shape.in0 + shape.in1, " input channels, the weight has ",
            weight.in);
  SAT_CHECK(bias.empty() || bias.shape == Shape({weight.out}), "conv3d: bias has shape ", bias.shape, ", needs [",
            weight.out, "]");
  for (int axis = 0; axis < 3; ++axis) {
    const int64_t size = x.shape[axis + 1], room = size + 2 * options.padding - weight.kernel;
    SAT_CHECK(room >= 0, "conv3d: x of shape ", x.shape, " is smaller than the kernel ", weight.kernel);
    shape.in_size[size_t(axis)] = size;
    shape.out_size[size_t(axis)] = room / options.stride + 1;
  }
  profile::Range range("conv3d", x.shape);
  Tensor y({shape.batch, shape.out_size[0], shape.out_size[1], shape.out_size[2], shape.out});
  cpu::conv3d(y.data<float>(), x.data<float>(), skip ? skip->data<float>() : nullptr, weight.panels.data<float>(),
              bias.empty() ? nullptr : bias.data<float>(), shape);
  return y;
}

}  // namespace

Tensor conv3d(const Tensor& x, const PackedConv3d& weight, const Tensor& bias, Conv3dOptions options) {
  return run_conv3d(x, nullptr, weight, bias, options);
}

Tensor conv3d_joined(const Tensor& x, const Tensor& skip, const PackedConv3d& weight, const Tensor& bias,
                     Conv3dOptions options) {
  return run_conv3d(x, &skip, weight, bias, options);
}

PackedMatrix pack_conv_transpose3d(const Tensor& weight) {
  SAT_CHECK(weight.shape.rank() == 5 && weight.shape[2] == 2 && weight.shape[3] == 2 && weight.shape[4] == 2,
            "pack_conv_transpose3d: weight has shape ", weight.shape, ", needs [in, out, 2, 2, 2]");
  if (Context::current().accelerator()) return accelerator().pack_conv_transpose3d(weight);
  const int64_t in = weight.shape[0], out = weight.shape[1];
  Tensor rows({8 * out, in});
  parallel_for(8 * out, 1, [&](int64_t row, int64_t) {
    const int64_t corner = row / out, o = row % out;
    for (int64_t i = 0; i < in; ++i)
      rows.data<float>()[row * in + i] = weight.data<float>()[(i * out + o) * 8 + corner];
  });
  return pack_linear(rows);
}

Tensor conv_transpose3d(const Tensor& x, const PackedMatrix& weight, const Tensor& bias) {
  SAT_CHECK(x.shape.rank() == 5 && x.shape[4] == weight.in && weight.out % 8 == 0, "conv_transpose3d: x has shape ",
            x.shape, ", needs [B, H, W, D, ", weight.in, "]");
  const int64_t out = weight.out / 8;
  SAT_CHECK(bias.empty() || bias.shape == Shape({out}), "conv_transpose3d: bias has shape ", bias.shape, ", needs [",
            out, "]");
  profile::Range range("conv_transpose3d", x.shape);
  Tensor y({x.shape[0], 2 * x.shape[1], 2 * x.shape[2], 2 * x.shape[3], out});
  cpu::conv_transpose3d(y.data<float>(), x.data<float>(), weight.panels.data<float>(),
                        bias.empty() ? nullptr : bias.data<float>(), x.shape[0], {x.shape[1], x.shape[2], x.shape[3]},
                        weight.in, out);
  return y;
}

}  // namespace sat
