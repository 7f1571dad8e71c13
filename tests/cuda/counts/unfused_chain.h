// The passes that our convolution makes needless, as kernels of their own, so that both chains' bytes can be counted.
// f16, channels a multiple of 8, 16 bytes a thread: each pass moves no more than it must.
#pragma once

#include <cstdint>

#include "sat/cuda/kernels.h"

namespace sat::test {

/// y [voxels, channels_a + channels_b] = a beside b.
void join_channels(const cuda::Stream& stream, void* y, const void* a, int64_t channels_a, const void* b,
                   int64_t channels_b, int64_t voxels);

/// Statistics of x [voxels, channels] in moments_partials(voxels) partials.
int64_t moments_partials(int64_t voxels);
void channel_moments(const cuda::Stream& stream, cuda::PartialMoments* partials, const void* x, int64_t voxels,
                     int64_t channels);

/// y [voxels, channels] = (x - center) * factor + shift. channels / 8 divides 256.
void apply_norm(const cuda::Stream& stream, void* y, const void* x, const PendingNorm& norm, int64_t voxels,
                int64_t channels);

/// x = leaky_relu(x), in place.
void apply_leaky_relu(const cuda::Stream& stream, void* x, float slope, int64_t voxels, int64_t channels);

}  // namespace sat::test
