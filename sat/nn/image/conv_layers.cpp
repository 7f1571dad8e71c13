// Packing 2-D convolutions, and batch norms as pending norms.
#include "sat/nn/image/conv_layers.h"

#include <cmath>

#include "sat/tensor/parallel.h"

namespace sat {

namespace {

/// Images as one volume: a pending norm is that of a volume, and a batch norm that of every image.
Tensor as_volume(const Tensor& x) { return reshape(x, {1, x.shape[0], x.shape[1], x.shape[2], x.shape[3]}); }
Tensor as_images(const Tensor& x) { return reshape(x, {x.shape[1], x.shape[2], x.shape[3], x.shape[4]}); }

}  // namespace

Conv2d::Conv2d(const Weights& w, const Conv2dSizes& sizes) : stride(sizes.stride), padding(sizes.padding) {
  const Tensor kernel = w.get("weight", {sizes.out, sizes.in, sizes.kernel, sizes.kernel});
  weight = pack_conv2d(kernel);
  if (sizes.bias) bias = to_compute_device(w.get("bias", {sizes.out}));
}

BatchNorm::BatchNorm(const Weights& w, int64_t channels, float eps)
    : center(to_compute_device(w.get("running_mean", {channels}).reshape({1, channels}))),
      shift(to_compute_device(w.get("bias", {channels}).reshape({1, channels}))) {
  const Tensor gain = w.get("weight", {channels}), variance = w.get("running_var", {channels});
  Tensor scale({1, channels});
  const float* gains = gain.address<float>();
  const float* variances = variance.address<float>();
  float* scales = scale.address<float>();
  parallel_for(channels, channels, [&](int64_t first, int64_t last) {
    for (int64_t c = first; c < last; ++c) {
      SAT_CHECK(variances[c] >= 0, w.source(), ": the running variance of '", w.prefix(), "' is ", variances[c],
                " at channel ", c, ", a variance is not negative");
      scales[c] = float(double(gains[c]) / std::sqrt(double(variances[c]) + double(eps)));
    }
  });
  factor = to_compute_device(scale);
  w.ignore("num_batches_tracked");
}

Features BatchNorm::pending(Tensor x, float slope) const {
  Tensor volume = as_volume(x);
  x = {};
  return {std::move(volume), center, factor, shift, slope};
}

Tensor BatchNorm::operator()(Tensor x, float slope) const {
  return as_images(materialize(pending(std::move(x), slope)));
}

Tensor add_relu(Tensor x, const BatchNorm& norm, const Tensor& y) {
  Features normed = norm.pending(std::move(x), 1);
  return as_images(sum_features(std::move(normed), Features{as_volume(y)}, 0).values);
}

}  // namespace sat
