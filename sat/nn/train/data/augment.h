// Private. The augmentation that SAT was trained with (spec k.5), transform by transform, and all of it on a crop.
// Knows tensors alone; the parameters come from random.h.
#pragma once

#include <array>
#include <cstdint>
#include <functional>

#include "sat/nn/train/data/random.h"
#include "sat/nn/train/data/sampling_settings.h"
#include "sat/tensor/tensor.h"

namespace sat {

/// Each takes voxels f32 [H, W, D] and gives new ones of the same size; masks are u8 [H, W, D, bytes].

/// Zooms about the middle: an axis of n becomes m = floor(n * factor), the image by means of the voxels that an output
/// voxel covers, masks by nearest neighbours; then the middle n are kept, or edge values appended.
Tensor zoom_image(const Tensor& image, double factor);
Tensor zoom_masks(const Tensor& masks, double factor);

/// x + deviation * noise.
Tensor add_noise(const Tensor& image, const Tensor& noise, double deviation);
/// Standard normal numbers f32, each a function of the stream and its place.
Tensor normal_field(const Shape& shape, const KeyedRandom& random);

/// Deviations in voxels along the axes, and how much of the difference is added.
struct Sharpening {
  std::array<double, 3> first{}, second{};
  double amount = 0;
};
/// U(0.5, 1) an axis, then U(0.5, first) an axis, then U(10, 30); `unit` gives numbers in [0, 1).
Sharpening draw_sharpening(const std::function<double()>& unit);
/// b + amount * (b - G_second(b)) with b = G_first(x); G is a Gaussian of integrated taps that are not normalised, with
/// zeros outside the volume.
Tensor sharpen(const Tensor& image, const Sharpening& by);

/// x * (1 + by).
Tensor scale_intensity(const Tensor& image, double by);

/// ((x - min) / (max - min + 1e-7))^gamma * (max - min) + min, by the extremes of the whole crop.
Tensor adjust_contrast(const Tensor& image, double gamma);

/// All of them in the published order, each by its own draws of (seed, step, item).
void augment(Tensor& image, Tensor& masks, const AugmentationSettings& settings, uint64_t seed, uint64_t step,
             uint32_t item);

}  // namespace sat
