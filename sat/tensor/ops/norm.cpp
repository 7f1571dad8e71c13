// Normalisations: checks and allocation.
#include "sat/tensor/accelerator.h"
#include "sat/tensor/cpu/kernels.h"
#include "sat/tensor/ops.h"
#include "sat/tensor/profile.h"

namespace sat {

Tensor layer_norm(const Tensor& x, const Tensor& gain, const Tensor& bias, float eps) {
  SAT_CHECK(x.shape.rank() >= 1 && gain.shape == Shape({x.shape[-1]}) && bias.shape == gain.shape,
            "layer_norm: x, gain, bias have shapes ", x.shape, ", ", gain.shape, ", ", bias.shape,
            ", need [..., C], [C], [C]");
  profile::Range range("layer_norm", x.shape);
  Tensor y = empty_like(x);
  const int64_t channels = x.shape[-1];
  SAT_CHECK(channels > 0, "layer_norm: there are no channels");
  if (y.device == Device::cuda) {
    accelerator().layer_norm(y, x, gain, bias, eps);
    return y;
  }
  cpu::layer_norm(y.data<float>(), x.data<float>(), gain.data<float>(), bias.data<float>(), x.numel() / channels,
                  channels, eps);
  return y;
}

Tensor instance_norm_leaky_relu(Tensor x, const Tensor& gain, const Tensor& bias, float eps, float slope) {
  SAT_CHECK(x.shape.rank() == 5 && gain.shape == Shape({x.shape[4]}) && bias.shape == gain.shape,
            "instance_norm_leaky_relu: x, gain, bias have shapes ", x.shape, ", ", gain.shape, ", ", bias.shape,
            ", need [B, H, W, D, C], [C], [C]");
  profile::Range range("instance_norm_leaky_relu", x.shape);
  const Tensor y = x.owns_alone() ? x : empty_like(x);
  cpu::instance_norm_leaky_relu(y.data<float>(), x.data<float>(), gain.data<float>(), bias.data<float>(), x.shape[0],
                                x.shape[1] * x.shape[2] * x.shape[3], x.shape[4], eps, slope);
  return y;
}

}  // namespace sat
