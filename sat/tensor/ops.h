// THE vocabulary: every operation on tensors, with its contract. Models are written in these words alone.
// Each op checks its arguments, allocates its result in the current context, and runs the kernel of kernels.h.
//
// All inputs and results are f32 unless stated; sums are taken in f32 over short runs and merged in a fixed order, so
// results have the same bits for any number of threads and any number of rows. Volumes of features are channels-last:
// [B, H, W, D, C]. An empty Tensor stands for "none" where stated.
//
// Arguments of one op lie on one device, and so does its result. In a context with an accelerator, weights are packed
// there, and resident() (tensor.h) takes the other arguments there; nothing moves by itself. Ops that the accelerator
// does not have (conv3d, conv3d_joined, conv_transpose3d, instance_norm_leaky_relu: no model uses them alone) refuse
// its tensors.
#pragma once

#include <array>
#include <vector>

#include "sat/tensor/cpu/conv_method.h"
#include "sat/tensor/tensor.h"

namespace sat {

// ---- features -------------------------------------------------------------------------------------------------------

/// A volume of features whose last step is still to be taken, by whoever reads it:
///   y = leaky_relu((values - center) * factor + shift), leaky_relu(v) = v < 0 ? slope * v : v.
/// So an instance norm costs no pass over the volume: the convolution before it counts the statistics, the op behind
/// it normalises what it loads.
struct Features {
  Tensor values;                       // [B, H, W, D, C], f32 or f16; on a device also bf16
  Tensor center{}, factor{}, shift{};  // [B, C] f32; all empty where the values are final
  float slope = 1;
};

/// The final values, f32. When the caller moves its last reference to f32 values in, the result reuses the bytes.
Tensor finished(Features x);

// ---- matrices -------------------------------------------------------------------------------------------------------

/// What follows a dense layer's sum. gelu is the exact form, x * Phi(x).
enum class Activation : uint8_t { none, relu, gelu };

/// A dense layer's weight in the layout that the kernels read: panels of 16 outputs, [ceil(out/16), in, 16], the last
/// panel filled with zeros. Made once, when the layer is built.
struct PackedMatrix {
  Tensor panels;
  int64_t in = 0, out = 0;
};
/// weight [out, in], as torch.nn.Linear publishes it.
PackedMatrix pack_linear(const Tensor& weight);

/// y = act(x * weight^T + bias), as torch.nn.Linear.
///   x [..., in]; bias [out] or empty; returns [..., out].
/// Work: 2 * rows * in * out flop. A row's result does not depend on the other rows.
Tensor linear(const Tensor& x, const PackedMatrix& weight, const Tensor& bias, Activation act = Activation::none);

/// Multi-head scaled dot-product attention, the part between the projections:
/// head h of the result is softmax(q_h * k_h^T / sqrt(C / heads) + bias_h) * v_h, heads being runs of C / heads
/// channels.
///   q [N, C]; k, v [T, C]; bias [heads, N, T] added to the scaled products, or empty; returns [N, C].
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads, const Tensor& bias = {});

/// Rows of a table: table [V, C], ids i64 [T] on the CPU -> [T, C] where the table is. Throws Error for an id outside
/// [0, V).
Tensor gather_rows(const Tensor& table, const Tensor& ids);

// ---- pointwise ------------------------------------------------------------------------------------------------------

/// a + b, where b has a's shape or the shape of a's trailing axes (and is then added to each row).
Tensor add(const Tensor& a, const Tensor& b);

/// Joins tensors along the last axis; all other axes must agree.
Tensor concat_channels(const std::vector<Tensor>& parts);

// ---- normalisation --------------------------------------------------------------------------------------------------

/// LayerNorm over the last axis: (x - mean) / sqrt(var + eps) * gain + bias, biased variance in two passes.
///   x [..., C]; gain, bias [C].
Tensor layer_norm(const Tensor& x, const Tensor& gain, const Tensor& bias, float eps);

/// leaky_relu(instance_norm(x)): per sample and channel, mean and biased variance over all voxels, then
/// (x - mean) / sqrt(var + eps) * gain + bias, then y < 0 ? slope * y : y. As InstanceNorm3d + LeakyReLU.
///   x [B, H, W, D, C], taken by value: when the caller moves its last reference in, the result reuses the bytes.
/// Statistics: per-slab (count, mean, M2) merged in slab order. Traffic: two reads and one write of x.
Tensor instance_norm_leaky_relu(Tensor x, const Tensor& gain, const Tensor& bias, float eps, float slope);

// ---- convolution ----------------------------------------------------------------------------------------------------

/// A k x k x k convolution's weight in the layout that its method's kernels read.
struct PackedConv3d {
  Tensor panels;  // direct: [ceil(out/16), k*k*k, in, 16]; Winograd: transformed (tensor/winograd.h)
  int64_t in = 0, out = 0, kernel = 0;
  ConvMethod method = ConvMethod::direct;
  int64_t first_in = 0;  // channels of the first of two joined inputs, where the method lays them out apart
  Tensor composed{}, composed_bias{};  // an accelerator's, by compose_up()
};
/// weight [out, in, k, k, k], as torch.nn.Conv3d publishes it. `first_in`: of the first of two joined inputs; 0: one
/// input. In a context with an accelerator the weight goes there, in the one layout that all its kernels read, and
/// `input` says how the inputs will be held; the method is not asked for.
PackedConv3d pack_conv3d(const Tensor& weight, ConvMethod method = ConvMethod::direct, int64_t first_in = 0,
                         DType input = DType::f32);

struct Conv3dOptions {
  int64_t stride = 1;
  int64_t padding = 1;  // zeros on every side
};

/// 3-D cross-correlation, as torch.nn.Conv3d. The weight is packed for the direct method.
///   x     [B, H, W, D, Cin]
///   bias  [Cout] or empty
///   returns [B, H', W', D', Cout], H' = (H + 2 * padding - k) / stride + 1
/// Work: 2 * B * Cout * H' * W' * D' * Cin * k^3 flop. Extra memory: none beyond the result.
Tensor conv3d(const Tensor& x, const PackedConv3d& weight, const Tensor& bias, Conv3dOptions options = {});

/// conv3d of two inputs in place of a concatenation: x's channels first, then skip's; the joined tensor never exists.
///   x [B, H, W, D, C1], skip [B, H, W, D, C2], weight packed for C1 + C2 inputs.
Tensor conv3d_joined(const Tensor& x, const Tensor& skip, const PackedConv3d& weight, const Tensor& bias,
                     Conv3dOptions options = {});

/// What follows a convolution: instance norm and leaky ReLU.
struct NormWeights {
  Tensor gain, bias;  // [C]
  float eps = 1e-5f, slope = 0.01f;
};

/// conv3d (3x3x3, padding 1, by the weight's method) whose norm is left to its readers: takes the norm that x owes
/// while it loads x, counts the result's statistics while it stores it. A bias would cancel in the norm, so there is
/// none.
///   x [B, H, W, D, Cin] by value: the result is written over it where the caller moves its last reference in, stride
///   is 1, channels agree, and memory before or behind it has room (results of this op have, where it pays).
///   returns [B, H', W', D', Cout], held as `store`: f32 or f16.
/// Throws Error where a result is not finite, or for f16 not within its range by eight deviations.
Features conv3d_norm(Features x, const PackedConv3d& weight, const NormWeights& norm, int64_t stride = 1,
                     DType store = DType::f32);

/// conv3d_norm of [conv_transpose3d(low), skip], where neither the joined nor, but for a few planes, the up-sampled
/// volume exists. The result may be written over skip's.
///   low [B, H/2, W/2, D/2, in], skip [B, H, W, D, C2]; up, up_bias as for conv_transpose3d.
Features conv3d_norm_up(Features low, const PackedMatrix& up, const Tensor& up_bias, Features skip,
                        const PackedConv3d& weight, const NormWeights& norm, DType store = DType::f32);

/// weight [in, out, 2, 2, 2], as torch.nn.ConvTranspose3d publishes it, packed as a dense layer of 8 * out outputs in
/// the order (a, b, c, out).
PackedMatrix pack_conv_transpose3d(const Tensor& weight);

/// On an accelerator that holds features in a half type: gives `conv`, packed for conv3d_norm_up, the weights of the
/// same function of the low-resolution volume itself, so that up-sampled voxels need not exist. Nothing elsewhere.
///   weight as for pack_conv3d; up, up_bias as for pack_conv_transpose3d
void compose_up(PackedConv3d& conv, const Tensor& weight, const Tensor& up, const Tensor& up_bias);

/// Transposed convolution with kernel = stride = 2: y[2h+a, 2w+b, 2d+c, :] = bias + W[:, :, a, b, c]^T x[h, w, d, :].
///   x [B, H, W, D, in]; bias [out] or empty; returns [B, 2H, 2W, 2D, out]
Tensor conv_transpose3d(const Tensor& x, const PackedMatrix& weight, const Tensor& bias);

// ---- grids ----------------------------------------------------------------------------------------------------------

/// Average pooling with kernel = stride = k; every spatial size must divide by k.
///   x [B, H, W, D, C] -> [B, H/k, W/k, D/k, C] f32
Tensor avg_pool3d(const Features& x, int64_t k);

/// A box of voxels that lies at three places: in a window's features, in its importance map, and in the scores.
struct ScoreRegion {
  std::array<int64_t, 3> in_features{}, in_importance{}, in_scores{};  // its first voxel
  std::array<int64_t, 3> size{};
};

/// Mask product, squashing and weighted accumulation in one pass; logits are never stored:
/// scores[v, n] += importance[v] * tanh(l / 2) with l = sum_c features[v, c] * masks[n, c], for every voxel v of
/// `region`. Since sigmoid(l) = (1 + tanh(l / 2)) / 2, the weighted mean probability is above 0.5 exactly where scores
/// > 0.
///   scores [S0, S1, S2, N], features [1, H, W, D, C], masks packed [N, C], importance [I0, I1, I2]
/// Each feature is read once, widened and normalised on the way, however many prompts there are.
void accumulate_mask_scores(const Tensor& scores, const Features& features, const PackedMatrix& masks,
                            const Tensor& importance, const ScoreRegion& region);

}  // namespace sat
