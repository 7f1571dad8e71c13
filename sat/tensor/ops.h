// Private. THE vocabulary: every operation on tensors, with its contract. Models are written in these words alone.
// Each op checks its arguments, allocates its result in the current context, and has the backend of the device that its
// arguments lie on compute it.
//
// All inputs and results are f32 unless stated; sums are taken in f32 over short runs and merged in a fixed order, so
// results have the same bits for any number of threads and any number of rows. Volumes of features are channels-last:
// [B, H, W, D, C]. An empty Tensor stands for "none" where stated.
//
// Arguments of one op lie on one device, which is the CPU or the device that the current context computes on, and so
// does the result; anything else throws Error. Weights are packed where the context computes, and to_compute_device()
// takes other arguments there; nothing moves by itself.
//
// In a context with a tape (autograd/tape.h) an op whose arguments have a history records its gradient too, or throws
// Error where it has none. The pack_ functions then keep the published weight alone, and each op that reads it packs it
// when it runs: what was packed before a step of the optimiser is never read after it.
#pragma once

#include <array>
#include <string>
#include <vector>

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
  Tensor rstd{};  // [B, C] 1 / deviation of each channel, as its norm took it: what the norm's gradient needs
};

/// The final values, f32. When the caller moves its last reference to f32 values in, the result reuses the bytes.
Tensor materialize(Features x);

/// Samples [first, last) of a batch: views.
Features slice(const Features& x, int64_t first, int64_t last);

// ---- views ----------------------------------------------------------------------------------------------------------

Tensor reshape(const Tensor& x, const Shape& shape);            // same elements, other sizes: a view
Tensor slice(const Tensor& x, int64_t first, int64_t last);     // [first, last) along axis 0: a view
Tensor select(const Tensor& x, int64_t index);                  // index along axis 0, which disappears: a view
void copy_into(Tensor& to, int64_t first, const Tensor& from);  // to[first .. first + from.shape[0]) = from, axis 0

/// to's rows [to_first, ..) along `axis` = from's rows [first, last). Shapes agree on the other axes; any type. The two
/// may be one tensor in which rows move forwards (to_first <= first).
void copy_rows(Tensor& to, int axis, int64_t to_first, const Tensor& from, int64_t first, int64_t last);
void zero_rows(Tensor& x, int axis, int64_t first, int64_t last);

// ---- matrices -------------------------------------------------------------------------------------------------------

/// What follows a dense layer's sum. gelu is the exact form, x * Phi(x).
enum class Activation : uint8_t { none, relu, gelu };

/// Where a dense layer stands in a network: what a backend chooses its method by.
struct DenseSite {
  /// Usual number of rows of one matrix, where the rows of a matrix may be combined with each other (fast algorithms of
  /// multiplication do that); 0: a row's result must not depend on the other rows.
  int64_t rows = 0;
};

/// A dense layer's weight in the layout that the backend's kernels read. Made once, when the layer is built.
struct PackedMatrix {
  Tensor panels;  // empty where a tape follows the published weight
  int64_t in = 0, out = 0;
  int variant = 0;     // the backend's own number
  Tensor published{};  // on the CPU, where a tape follows it
  DenseSite site{};    // that it is going to be packed for
};
/// weight [out, in], as torch.nn.Linear publishes it, on the CPU.
PackedMatrix pack_linear(const Tensor& weight, const DenseSite& site = {});

/// y = act(x * weight^T + bias), as torch.nn.Linear.
///   x [..., in]; bias [out] or empty; returns [..., out].
/// Work: 2 * rows * in * out flop. A row's result does not depend on the other rows; or where the weight was packed for
/// a site of many rows, only on those of its own matrix, which is the last two axes of x.
Tensor linear(const Tensor& x, const PackedMatrix& weight, const Tensor& bias, Activation act = Activation::none);

/// a * b^T of two computed matrices: a [..., C], b [N, C] -> [..., N].
Tensor product_transposed(const Tensor& a, const Tensor& b);

/// Runs of rows that attend within themselves: queries [queries[i], queries[i + 1]) look at keys [keys[i], keys[i +
/// 1]). Both lists begin with 0 and end with the number of rows: texts of a batch, images, windows of a grid.
struct Segments {
  std::vector<int64_t> queries, keys;
  /// A number a row, where queries and keys are the same rows, or empty: to the product of rows with different numbers
  /// -100 is added (Swin's shifted windows).
  std::vector<uint8_t> regions{};
  int64_t count() const { return static_cast<int64_t>(queries.size()) - 1; }
};
/// Runs of equal length: `count` of `queries` queries and `keys` keys each.
Segments equal_segments(int64_t count, int64_t queries, int64_t keys);

/// residual + scale * (x * weight^T + bias), channel by channel: the end of a transformer's block, with LayerScale.
///   residual [..., out] by value: written over where the caller moves its last reference in; scale [out] or empty.
Tensor linear_add(Tensor residual, const Tensor& x, const PackedMatrix& weight, const Tensor& bias,
                  const Tensor& scale = {});

/// The last two axes change places: [..., R, C] -> [..., C, R].
Tensor transpose(const Tensor& x);

/// x = gelu(x), the exact form; written over where the caller moves its last reference in.
Tensor gelu(Tensor x);

/// Elements that training drops: element i of a tensor is 0 where unit(key, i) < rate, and divided by 1 - rate
/// elsewhere. `unit` is counter-based: SplitMix64's finalizer of key + (i + 1) * 0x9E3779B97F4A7C15, its upper 24 bits
/// / 2^24.
struct Dropout {
  float rate = 0;  // 0: nothing is dropped
  uint64_t key = 0;
};
Tensor dropout(const Tensor& x, const Dropout& dropped);

/// Multi-head scaled dot-product attention, the part between the projections, inside each segment:
/// head h of the result is softmax(q_h * k_h^T / sqrt(C / heads) + bias_h) * v_h, heads being runs of C / heads
/// channels.
///   q [R, C]; k, v [T, C]; returns [R, C].
///   bias, added to the scaled products: empty for none; [heads, N, T] where every segment has N queries and T keys; or
///   one [heads, N_i, T_i] a segment, one behind another in a tensor of rank 1.
///   dropped: of softmax's results, element i counted as in a bias of rank 1.
/// A query's result depends on its segment alone: any grouping of segments gives the same bits.
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads, const Segments& segments,
                 const Tensor& bias = {}, const Dropout& dropped = {});
/// Of one segment: q [N, C]; k, v [T, C].
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads, const Tensor& bias = {});

/// The bias of attention inside texts, one behind another as attention() takes it: for query i and key j of text t,
///   table[buckets[j - i + L - 1], head] + (attended[first[t] + j] ? 0 : -1e30), which softmax turns into exactly 0.
///   table [M, heads], or [0, heads] for masks alone (buckets is empty then); L the longest text's length;
///   buckets [2 L - 1] rows of the table; first: where each text begins, and the end; attended: a flag a row.
/// Returns rank 1, of sum_t heads * T_t * T_t.
Tensor attention_bias(const Tensor& table, const std::vector<int64_t>& buckets, const std::vector<int64_t>& first,
                      const std::vector<uint8_t>& attended);

/// The weights of that mean: softmax(q_h * k_h^T / sqrt(C / heads)) of one segment.
///   q [N, C]; k [T, C]; returns [heads, N, T]
Tensor attention_map(const Tensor& q, const Tensor& k, int64_t heads);

/// Rows of a table: table [V, C] -> [ids, C]; id -1 gives a row of zeros. Throws Error for other ids outside [0, V).
Tensor gather_rows(const Tensor& table, const std::vector<int64_t>& ids);

/// Means of the counted rows of each run, summed in double row by row: x [R, C] -> [runs, C].
///   first: where each run begins, and the end; counted: a flag a row. A run without counted rows gives 0.
Tensor mean_of_rows(const Tensor& x, const std::vector<int64_t>& first, const std::vector<uint8_t>& counted);

// ---- pointwise ------------------------------------------------------------------------------------------------------

/// a + b, where b has a's shape or the shape of a's trailing axes (and is then added to each row).
Tensor add(const Tensor& a, const Tensor& b);

/// a * b element by element, shapes as in add().
Tensor multiply(const Tensor& a, const Tensor& b);

/// Joins tensors along the last axis; all other axes must agree.
Tensor concat_channels(const std::vector<Tensor>& parts);

// ---- normalisation --------------------------------------------------------------------------------------------------

/// LayerNorm over the last axis: (x - mean) / sqrt(var + eps) * gain + bias, biased variance in two passes.
///   x [..., C]; gain, bias [C], or both empty: 1 and 0.
Tensor layer_norm(const Tensor& x, const Tensor& gain, const Tensor& bias, float eps);

// ---- convolution ----------------------------------------------------------------------------------------------------

/// A convolution's weight in the layout that the backend's general kernel reads.
struct PackedConv3d {
  Tensor panels;  // empty as in PackedMatrix
  int64_t in = 0, out = 0;
  std::array<int64_t, 3> kernel{};
  Tensor published{};  // as in PackedMatrix
};
/// weight [out, in, kh, kw, kd], as torch.nn.Conv3d publishes it, on the CPU.
PackedConv3d pack_conv3d(const Tensor& weight);

struct Conv3dOptions {
  std::array<int64_t, 3> stride, padding;  // zeros on every side

  /// The same on every axis.
  Conv3dOptions(int64_t every_stride = 1, int64_t every_padding = 1)
      : stride{every_stride, every_stride, every_stride}, padding{every_padding, every_padding, every_padding} {}
  Conv3dOptions(const std::array<int64_t, 3>& strides, const std::array<int64_t, 3>& paddings)
      : stride(strides), padding(paddings) {}
};

/// 3-D cross-correlation, as torch.nn.Conv3d: any kernel size, stride and padding.
///   x     [B, H, W, D, Cin]
///   bias  [Cout] or empty
///   returns [B, H', W', D', Cout], H' = (H + 2 * padding - kh) / stride + 1
/// Work: 2 * B * Cout * H' * W' * D' * Cin * kh * kw * kd flop. Extra memory: none beyond the result.
Tensor conv3d(const Tensor& x, const PackedConv3d& weight, const Tensor& bias, const Conv3dOptions& options = {});

/// weight [in, out, 2, 2, 2], as torch.nn.ConvTranspose3d publishes it, on the CPU.
PackedMatrix pack_conv_transpose3d(const Tensor& weight);

/// Transposed convolution with kernel = stride = 2: y[2h+a, 2w+b, 2d+c, :] = bias + W[:, :, a, b, c]^T x[h, w, d, :].
///   x [B, H, W, D, in]; bias [out] or empty; returns [B, 2H, 2W, 2D, out]
Tensor conv_transpose3d(const Tensor& x, const PackedMatrix& weight, const Tensor& bias);

// ---- blocks of convolution and norm ---------------------------------------------------------------------------------

/// Where a block of a 3x3x3 convolution and an instance norm stands in a network, and how exact it must be: what a
/// backend chooses its kernel, the layout of the weight and the type of the result by.
struct ConvSite {
  int64_t stride = 1;             // 1 or 2
  std::array<int64_t, 3> grid{};  // usual size of its output, H, W, D; every kernel is right on any other
  int halvings = 0;               // of the volume before it: 0 at full resolution
  double most_error = 1e-5;       // rms, of the output's standard deviation, in exact precision
  DType input = DType::f32;       // how what it reads is held: the `store` of the block before it
  std::string variant = {};       // a kernel variant by name, for tests and benchmarks; empty: the backend chooses
};

/// Channels of one input, or of two that stand for their concatenation: `up` of an up-sampled one, then the others.
struct ConvChannels {
  int64_t in, out;  // `in` of all inputs together
  int64_t up = 0;   // 0: one input
};

/// What a backend chose, and what that is worth.
struct ConvChoice {
  std::string variant;      // "winograd-4x4x4", "direct", "wgmma" ...
  DType store;              // how the result is held
  double savings = 1;       // multiplications of the definition, for one of the variant's
  double weight_bytes = 0;  // of its weights, up to padding
  double error = 0;         // bound on the rms error, of the output's standard deviation; 0: not stated
};
ConvChoice choose_conv(const ConvSite& site, const ConvChannels& channels);

/// The weight of such a block, packed for the variant that was chosen.
struct ConvBlockWeight {
  Tensor panels;                                 // in the variant's layout; empty as in PackedMatrix
  int64_t in = 0, out = 0, stride = 1;           // `in` of both inputs together, where there are two
  int64_t up = 0;                                // channels of the up-sampled one of them
  DType input = DType::f32, store = DType::f32;  // how what it reads, and its result, are held
  int variant = 0;                               // the backend's own number
  Tensor published{};                            // as in PackedMatrix
  ConvSite site{};                               // as there
};
/// weight [out, in, 3, 3, 3], as torch.nn.Conv3d publishes it, on the CPU. Throws Error for a variant of the site that
/// is not known, that this machine does not have, or that cannot compute it.
ConvBlockWeight pack_conv_block(const Tensor& weight, const ConvSite& site);

/// What follows a convolution: instance norm and leaky ReLU.
struct NormWeights {
  Tensor gain, bias;  // [C]
  float eps = 1e-5f, slope = 0.01f;
  Tensor cancelled{};  // [C] the convolution's bias, which the norm takes off again: its gradient is zero; or empty
};

/// A 3x3x3 convolution with padding 1 whose norm is left to its readers: applies x's pending norm while it loads x,
/// counts the result's statistics while it stores it. A bias would cancel in the norm, so there is none.
///   x [B, H, W, D, in] by value: the result is written over it where the caller moves its last reference in, stride is
///   1, channels agree, and memory before or behind it has room (results of this op have, where it pays).
///   returns [B, H', W', D', out], held as weight.store; H' = ceil(H / stride).
/// Throws Error where x has no voxels, where a result is not finite, or for f16 not within its range by eight
/// deviations.
Features conv3d_norm(Features x, const ConvBlockWeight& weight, const NormWeights& norm);

/// The weights of a block that joins an up-sampled volume and a skip connection.
struct UpBlockWeight {
  PackedMatrix up;
  Tensor up_bias;                      // or empty
  ConvBlockWeight conv;                // of both inputs
  Tensor composed{}, composed_bias{};  // where the backend reads the low-resolution volume itself
};
/// weight [out, C1 + C2, 3, 3, 3]; up [in, C1, 2, 2, 2] and up_bias [C1] or empty, as torch.nn.ConvTranspose3d; all on
/// the CPU.
UpBlockWeight pack_up_block(const Tensor& weight, const Tensor& up, const Tensor& up_bias, const ConvSite& site);

/// conv3d_norm of [conv_transpose3d(low), skip], where neither the joined nor, but for a few planes, the up-sampled
/// volume exists. The result may be written over skip's.
///   low [B, H/2, W/2, D/2, in], skip [B, H, W, D, C2]
Features conv3d_norm_up(Features low, Features skip, const UpBlockWeight& weight, const NormWeights& norm);

/// Counts the statistics of values that are there, and leaves their instance norm and leaky ReLU to the next reader.
///   x [B, H, W, D, C]
Features instance_norm(Tensor x, const NormWeights& norm);

/// leaky_relu(a + b), with both pending norms taken: the end of a residual block. Written over a's or b's values where
/// the caller moves the last reference to f32 values in.
Features sum_features(Features a, Features b, float slope);

// ---- losses ---------------------------------------------------------------------------------------------------------

/// x [R, C] / |row|, a row of zeros staying one: rows of length 1, as torch.nn.functional.normalize.
Tensor normalize_rows(const Tensor& x);

/// e^t * x, t of one element: a learnt temperature.
Tensor scale_by_exp(const Tensor& x, const Tensor& t);

/// sum over rows r of weights[r] * -sum_k targets[r, k] * ln softmax(logits[r])[k], [1]: cross-entropy of soft targets.
///   logits, targets [R, K]; weights [R]; excluded [R, K] u8 or empty: where not 0, a class is left out of its row's
///   softmax, and its target is 0.
Tensor cross_entropy(const Tensor& logits, const Tensor& targets, const Tensor& weights, const Tensor& excluded = {});

/// Which voxels N prompts want.
struct MaskTargets {
  Tensor bits;     // u8 [B, H, W, D, ceil(N / 8)]: bit n % 8 of byte n / 8 is prompt n
  Tensor counted;  // [B, N] 1, or 0 for a prompt that fills a batch up, or that nobody has contoured
};

struct MaskLoss {
  Tensor total;      // [1]
  Tensor dice, bce;  // [B, N] of each prompt, for logs, without history
};

/// Dice and cross-entropy of logits l[b, v, n] = sum_c features[b, v, c] * masks[b, n, c], which are never stored. With
/// p = sigmoid(l), t the target, and V voxels,
///   dice = 1 - (2 sum p t + 1e-7) / (sum p^2 + sum t + 1e-7),   bce = -(sum t ln p + (1 - t) ln(1 - p)) / V,
///   total = weight * sum counted (dice + bce) / (sum counted + 1e-14): SAT's loss of one scale (its training code).
///   features [B, H, W, D, C], masks [B, N, C]
MaskLoss mask_loss(const Features& features, const Tensor& masks, const MaskTargets& targets, float weight);

// ---- images ---------------------------------------------------------------------------------------------------------
// Images are [B, H, W, C]. A 2-D convolution is a 3-D one of depth 1.

/// weight [out, in, kh, kw], as torch.nn.Conv2d publishes it, on the CPU.
PackedConv3d pack_conv2d(const Tensor& weight);
/// As torch.nn.Conv2d: x [B, H, W, Cin] -> [B, H', W', Cout].
Tensor conv2d(const Tensor& x, const PackedConv3d& weight, const Tensor& bias, int64_t stride = 1, int64_t padding = 1);

/// weight [in, out, k, k], as torch.nn.ConvTranspose2d publishes it, on the CPU.
PackedMatrix pack_conv_transpose2d(const Tensor& weight);
/// Transposed convolution with kernel = stride = k: x [B, H, W, in] -> [B, kH, kW, out]; bias [out] or empty.
Tensor conv_transpose2d(const Tensor& x, const PackedMatrix& weight, const Tensor& bias, int64_t k = 2);

/// Patches of p x p pixels as rows, in the order (row, column, channel): x [B, H, W, C] -> [B, H/p, W/p, p * p * C].
/// Rows and columns of pixels behind the last whole patch are left out.
Tensor split_patches(const Tensor& x, int64_t p);
/// The way back: x [B, h, w, p * p * C] -> [B, p * h, p * w, C].
Tensor join_patches(const Tensor& x, int64_t p);
/// The weight [out, in, p, p] of a convolution with kernel = stride = p, as a dense layer of such patches; on the CPU.
PackedMatrix pack_patch_embedding(const Tensor& weight);

/// How an axis is sampled anew: output i is the sum over t of weight[i * taps + t] * input[index[i * taps + t]].
struct AxisTaps {
  int64_t in = 0, taps = 0;
  std::vector<int64_t> index;  // in [0, in)
  std::vector<float> weight;
  int64_t out() const { return taps > 0 ? static_cast<int64_t>(index.size()) / taps : 0; }
};
/// Pixel centres at i + 1/2, or with `aligned` the first and last pixels' centres of both grids at one place.
AxisTaps linear_taps(int64_t in, int64_t out, bool aligned = false);
AxisTaps nearest_taps(int64_t in, int64_t out);  // input floor(i * in / out)
/// Cubic convolution, a = -0.75, without antialiasing: output i lies at (i + 1/2) * step - 1/2; step 0: in / out.
AxisTaps cubic_taps(int64_t in, int64_t out, double step = 0);
/// The same with a = -0.5, widened to cover what each output stands for where the axis shrinks.
AxisTaps cubic_antialiased_taps(int64_t in, int64_t out);
/// Means of `out` parts of the axis that cover it: part i is [floor(i * in / out), ceil((i + 1) * in / out)), as
/// torch.nn.AdaptiveAvgPool2d.
AxisTaps mean_taps(int64_t in, int64_t out);

/// x sampled anew along one axis, any rank.
Tensor resample(const Tensor& x, int axis, const AxisTaps& taps);
/// Along rows and columns of images: columns first.
Tensor resample2d(const Tensor& x, const AxisTaps& rows, const AxisTaps& columns);

/// Largest values of k x k pixels, kernel = stride = k; rows and columns behind the last whole window are left out.
Tensor max_pool2d(const Tensor& x, int64_t k);

// ---- sequences ------------------------------------------------------------------------------------------------------

/// silu(bias + sum over j of weight[:, j] * x[l - K + 1 + j]): each channel by itself, with zeros before the first
/// step; silu(v) = v / (1 + exp(-v)).
///   x [B, L, C]; weight [C, K]; bias [C]
Tensor causal_conv1d_silu(const Tensor& x, const Tensor& weight, const Tensor& bias);

/// Mamba's selective scan with its gate, from h_0 = 0, for each channel c and state n:
///   step = softplus(delta[l, c]), h[n] <- exp(-exp(log_a[c, n]) * step) * h[n] + step * x[l, c] * b[l, n],
///   y[l, c] = (sum over n of h[n] * c[l, n] + d[c] * x[l, c]) * silu(gate[l, c]).
///   x, delta, gate [B, L, C]; log_a [C, N]; b, c [B, L, N]; d [C]; returns [B, L, C]
Tensor selective_scan(const Tensor& x, const Tensor& delta, const Tensor& log_a, const Tensor& b, const Tensor& c,
                      const Tensor& d, const Tensor& gate);

// ---- grids ----------------------------------------------------------------------------------------------------------

/// Average pooling with kernel = stride = k; every spatial size must divide by k.
///   x [B, H, W, D, C] -> [B, H/k, W/k, D/k, C] f32
Tensor avg_pool3d(const Features& x, int64_t k);

/// Means of features over masks: y[b, n, c] = sum over voxels of m x[c] / (sum over voxels of m + 1e-14), with m = mask
/// n of sample b; 0 where a mask is empty. Sums are taken in double.
///   x [B, H, W, D, C]; masks u8 [B, H, W, D, ceil(N / 8)], as MaskTargets has them; returns [B, N, C]
/// The features of a voxel in no mask are not read.
Tensor masked_means(const Features& x, const Tensor& masks, int64_t count);

/// A box of voxels that lies at three places: in a window's features, in its importance map, and in the scores.
struct ScoreRegion {
  std::array<int64_t, 3> in_features{}, in_importance{}, in_scores{};  // its first voxel
  std::array<int64_t, 3> size{};
};

/// Mask product, tanh and weighted accumulation in one pass; logits are never stored:
/// scores[v, n] += importance[v] * tanh(l / 2) with l = sum_c features[v, c] * masks[n, c], for every voxel v of
/// `region`. Since sigmoid(l) = (1 + tanh(l / 2)) / 2, the weighted mean probability is above 0.5 exactly where scores
/// > 0.
///   scores [S0, S1, S2, N], features [1, H, W, D, C], masks [N, C], importance [I0, I1, I2]
/// Each feature is read once, widened and normalised on the way, however many prompts there are.
void accumulate_mask_scores(Tensor& scores, const Features& features, const Tensor& masks, const Tensor& importance,
                            const ScoreRegion& region);
/// weights[v] += importance[v] over a region; weights [S0, S1, S2]. `in_features` does not matter.
void accumulate_importance(Tensor& weights, const Tensor& importance, const ScoreRegion& region);
/// scores [S0, S1, S2, N] /= weights [S0, S1, S2], for rows [first, last) along `axis`.
void divide_rows(Tensor& scores, const Tensor& weights, int axis, int64_t first, int64_t last);

}  // namespace sat
