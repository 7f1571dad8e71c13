// Private: 3x3x3 convolution by nested Winograd (Toom-Cook) algorithms, one an axis, fused with the norm of its input
// and the statistics of its output. docs/kernels.md walks through it.
//
// A tile of MH x MW x MD outputs costs PH x PW x PD products a pair of channels in place of 27 * MH * MW * MD: for
// F(4, 3) on every axis 216 in place of 1728. Transforms are sums along one axis at a time. One work item is some
// dozen tiles of one row of tiles along H; everything it makes stays in the caches, and no transformed volume is
// ever written.
#pragma once

#include <array>
#include <cstdint>

#include "sat/tensor/cpu/conv/conv_method.h"
#include "sat/tensor/cpu/conv/conv_slab.h"
#include "sat/tensor/cpu/vector/simd.h"

namespace sat::cpu {

/// How one axis is convolved: `outputs` neighbours from `inputs` values, `points` products each; the next tile begins
/// `step` inputs on, the first one `before` the volume. Points that read one and the same transformed weight share it:
/// `weights` of them are distinct.
struct WinogradAxis {
  int64_t outputs, inputs, points, step, weights, before;
  /// The first input that a tile reads whose first output is this one.
  int64_t first_input(int64_t output) const { return output / outputs * step - before; }
  int64_t weight_of(int64_t point) const { return point < weights ? point : weights - 1; }
};

/// F(2, 3), F(4, 3) and F(6, 3); and stride 2, split by parity: F(4, 2) of the odd positions, whose two taps are the
/// outer ones, beside plain products of the even positions with the middle tap. And stride 2 backwards, from outputs to
/// inputs: odd positions from two neighbours by F(4, 2), even ones from one.
enum class AxisKind : uint8_t { f2, f4, f6, stride2, stride2_back };
constexpr int kAxisKinds = 5;
const WinogradAxis& axis_of(AxisKind kind);

/// One kind for each of H, W, D; of one stride, and W's is D's.
using WinogradKind = std::array<AxisKind, 3>;
WinogradKind winograd_kind(ConvMethod method);  // of a Winograd method

/// weight [out, in, 3, 3, 3] -> [ceil(out/16), in, 27, 16], as their transform reads it.
Tensor winograd_taps(const Tensor& weight);

/// taps -> [H weights, ceil(out/64), W weights, D weights, up to 4 panels, in, 16], transformed in double and rounded
/// once. Channels are padded to whole panels of 16: those of the first `in0` inputs, then the rest.
Tensor winograd_panels(const Tensor& taps, WinogradKind kind, int64_t in0);

/// Whether a model keeps the taps alone, and each run of the layer transforms them: where that makes so much that it
/// would be half of the model.
bool winograd_transforms_late(WinogradKind kind, int64_t in, int64_t out);

constexpr int64_t kMostPoints = 8;  // of distinct weights along an axis

/// Of one axis: weight p is rows[p] * taps.
struct KernelTransform {
  int64_t weights;
  double rows[kMostPoints][3];
};

/// Where a row of tiles of the input lies: what the first step reads.
struct WinogradSource {
  const SlabInput* input;
  int64_t first_h, first_w, first_d;  // of the first value that the item reads; may be outside
  int64_t H, W, D;                    // of the input volume
  int64_t width;                      // values along D
};

/// How results are stored: streamed past the caches where they would not stay there, f32 in whole aligned panels; or
/// added to the f32 values that are there.
enum class WinogradStore : uint8_t { f16, f32, streamed, added };

/// What the last step writes, and counts.
struct WinogradResult {
  void* const* planes;  // of the output, from the item's first plane on
  int64_t planes_left;  // that may be written
  WinogradStore store;
  int64_t channels, W, D;      // of the output volume
  int64_t first_w, first_d;    // of the item's first output
  int64_t first_channel;       // of the block of outputs,
  int64_t block;               // and its width, padded to whole panels
  float *base, *sum, *square;  // [block]: over the values stored in one call, of value - base and its square
};

/// The steps of an item, in the vector form of one CPU level. A form's arithmetic is the same on every number whatever
/// its width, so all forms give the same bits.
struct WinogradSteps {
  /// Row `row` of the item's inputs: reads all planes, takes the pending norm, transforms along H, and writes one row
  /// [width, row_channels] a point, from channel `offset` on.
  void (*load[kAxisKinds])(float* to, int64_t point_stride, int64_t row_channels, int64_t offset,
                           const WinogradSource& source, int64_t row);
  /// A row of tiles along W, then along D, which are convolved alike: point (i, j) of tile t lies at
  /// to[(i * points + j) * to_stride + t * channels], the value in row y at place x at
  /// from[y * row_stride + x * channels]. Channels are a multiple of 16.
  void (*forward[kAxisKinds])(float* to, int64_t to_stride, const float* from, int64_t row_stride, int64_t channels,
                              int64_t tiles);
  /// And back, along D, then W: output (y, x) at to[(y * outputs + x) * to_stride + n] of the points (i, j) at
  /// from[(i * points + j) * from_stride + n], n < count, a multiple of 16.
  void (*inverse[kAxisKinds])(float* to, int64_t to_stride, const float* from, int64_t from_stride, int64_t count);
  /// One row of outputs of a row of tiles: transforms back along H and stores. The value of output x of tile t lies at
  /// from[p * point_stride + x * output_stride + t * block]. `begin` takes the base of the statistics from its first
  /// voxel.
  void (*epilogue[kAxisKinds])(const WinogradResult& result, const float* from, int64_t point_stride,
                               int64_t output_stride, int64_t tiles, int64_t outputs, int64_t row, bool begin);
  /// One input's taps [27, 16] to a panel of outputs: point (h, w, d) goes to
  /// to[h * plane_stride + (w * D weights + d) * point_stride + o].
  void (*weights)(float* to, int64_t plane_stride, int64_t point_stride, const float* taps,
                  const KernelTransform* transforms);
  const Simd* simd;  // its product; null: plain
};
extern const WinogradSteps kWinogradPlain, kWinogradAvx2, kWinogradAvx512;

/// The steps of the current context's CPU level.
const WinogradSteps& current_winograd();

/// Convolves a slab whose first plane begins a tile.
void winograd_conv3d(const ConvSlab& slab, const float* panels, WinogradKind kind, const WinogradSteps& steps);

}  // namespace sat::cpu
