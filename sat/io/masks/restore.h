// Private. The way back: a model's scores, a few final rows at a time, become masks on the scan's own grid.
// The inverse of preprocess.h. Knows nothing of networks, and never needs all scores at once.
#pragma once

#include <array>
#include <cstdint>

#include "sat/io/masks/bit_masks.h"
#include "sat/io/scans/preprocess.h"
#include "sat/tensor/tensor.h"

namespace sat {

/// Decides the scan voxels that lie between final rows of the model's grid and sets their bits.
///
/// A score is s = 2 p - 1, so in [-1, 1] and positive inside. A scan voxel's score is the trilinear mean of the eight
/// model voxels around its position q = scan_to_resampled * index - crop start, where q is clamped to the resampled
/// volume and voxels outside the crop count as s = -1; its bit is set when that mean is > 0 (p > 0.5). When nothing
/// was resampled q is whole and the one score there decides.
///
///   out            on grid.scan, clear before the first call; bits are only ever set
///   scores         f32 [s0, s1, s2, n] of the model voxels `origin` .. origin + s; all there are along the two other
///                  axes, and along `axis` at least rows first .. last (row `last` only if the grid has one)
///   axis           the axis of rows: 0, 1 or 2
///   first, last    scan voxels with floor(q[axis]) in [first, last) are decided here. Those at -1, just outside the
///                  crop, go with first == 0. To decide every voxel, cover [0, rows of grid.model) without overlap
///   first_prompt   the prompt of scores[..., 0]; the n prompts from there are decided
///   probabilities  null, or n pointers, each null or f32 of grid.scan's size, zero before the first call: receives p
///
/// The same bits for any threads, axis, split into rows or into prompts. Throws Error when sizes do not fit together,
/// and for a score that is not finite.
/// Memory: 8 bytes a voxel of `scores` for every 64 prompts. Work: only prompts that are positive near a voxel are
/// interpolated there, unless probabilities are asked for.
void restore_rows(BitMasks& out, const ModelGrid& grid, const Tensor& scores, const std::array<int64_t, 3>& origin,
                  int axis, int64_t first, int64_t last, int64_t first_prompt, float* const* probabilities = nullptr);

}  // namespace sat
