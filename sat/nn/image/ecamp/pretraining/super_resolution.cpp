// The cubic halving filter and the super-resolution head.
#include "sat/nn/image/ecamp/pretraining/super_resolution.h"

namespace sat {

Tensor halve_images(const Tensor& images) {
  SAT_CHECK(images.shape.rank() == 4 && images.shape[1] > 0 && images.shape[2] > 0 && images.shape[1] % 2 == 0 &&
                images.shape[2] % 2 == 0,
            "halving images: they have shape ", images.shape, ", need [B, H, W, C] of even H and W");
  const Tensor anywhere = to_compute_device(images);
  return resample2d(anywhere, cubic_taps(images.shape[1], images.shape[1] / 2),
                    cubic_taps(images.shape[2], images.shape[2] / 2));
}

SuperResolution::SuperResolution(const Weights& w, int64_t channels)
    : first_(w / "conv1", {channels, channels, 3, 1, 1, false}),
      second_(w / "conv2", {channels, channels, 3, 1, 1}),
      zero_(to_compute_device(zeros({1, channels}))),
      one_(to_compute_device(full({1, channels}, 1))),
      first_bias_(to_compute_device((w / "conv1").get("bias", {channels}).reshape({1, channels}))) {}

Tensor SuperResolution::operator()(const Tensor& images) const {
  const int64_t B = images.shape[0], h = images.shape[1], w = images.shape[2], C = images.shape[3];
  const Tensor u = resample2d(images, linear_taps(h, 2 * h), linear_taps(w, 2 * w));
  const Shape volume{1, B, 2 * h, 2 * w, C};
  const Tensor hidden = materialize({reshape(first_(u), volume), zero_, one_, first_bias_, 0});  // a ReLU
  const Tensor v = second_(reshape(hidden, u.shape));
  return reshape(sum_features({reshape(v, volume)}, {reshape(u, volume)}, 0).values, u.shape);
}

}  // namespace sat
