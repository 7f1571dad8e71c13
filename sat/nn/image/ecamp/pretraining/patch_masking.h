// Private. Random masking of patches (ecamp.md 2.1): which patches of each image the encoder sees, decided by a number
// a patch, so that a caller's own stream decides.
#pragma once

#include <cstdint>
#include <vector>

namespace sat {

struct PatchMasks {
  int64_t images = 0, patches = 0, seen = 0;  // patches: of an image; seen: of those, what the encoder gets
  std::vector<int64_t> kept;                  // [images * seen] patch numbers, in the order of their noise
  std::vector<int64_t> restore;               // [images * patches] each patch's place in that order
  std::vector<uint8_t> removed;               // [images * patches] 1: the encoder does not see it
};

/// Sorts each image's patches by their noise and keeps the first int(patches * (1 - ratio)). noise: images * patches
/// finite numbers, such as uniform ones; equal ones keep their order.
PatchMasks mask_patches(const std::vector<float>& noise, int64_t images, double ratio = 0.75);

}  // namespace sat
