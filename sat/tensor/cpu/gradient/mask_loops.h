// Private: the pointwise loops of the mask loss, over the 16 prompts of a panel, in the form of AVX2.
// Holds plain declarations only, so that files compiled for a level share no inline function with those that are not.
#pragma once

#include <cstdint>

namespace sat::cpu {

constexpr int64_t kMaskPanel = 16;  // prompts, those behind the last one with a logit of 0 and no bits

/// Which prompts of a panel are wanted: bytes [0, `count`) from here, `stride` bytes from voxel to voxel.
struct MaskBits {
  const uint8_t* first;
  int64_t stride, count;  // 1 or 2; of 1, the panel's second half is neither read nor written
};

namespace avx2 {

/// Over voxels, added in f32 to sums [4, 16]: p t, p^2, t and the cross-entropy of logits [voxels, 16].
void add_mask_sums(float* sums, const float* logits, const MaskBits& bits, int64_t voxels);

/// logits [voxels, 16] become dl/dlogit = p (1 - p) (k0 t + k1 p) + k2 (p - t), k [3, 16].
void mask_slopes(float* logits, const float* k, const MaskBits& bits, int64_t voxels);

}  // namespace avx2
}  // namespace sat::cpu
