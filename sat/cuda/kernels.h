// Private: the list of device kernels. Raw device pointers and sizes; the ops and the accelerator have checked
// everything. Each function queues its work and returns. Volumes are channels-last, as on the CPU.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "sat/cuda/device/stream.h"
#include "sat/tensor/ops.h"

namespace sat::cuda {

// ---- what convolutions share ---------------------------------------------------------------------------------------

/// What a reader still owes raw values x of a sample: leaky_relu((x - center[c]) * factor[c] + shift[c]), with
/// leaky_relu(v) = v < 0 ? slope * v : v. No center: the values are final. Zero padding is applied after it.
struct Norm {
  const float *center = nullptr, *factor = nullptr, *shift = nullptr;  // [channels] each
  float slope = 1;
};

/// One input of a convolution, one sample. Plane h lies at values + (ring ? h % ring : h) * W * D * channels elements;
/// only planes that are needed have to be there.
struct ConvInput {
  const void* values = nullptr;
  DType dtype = DType::f32;
  int64_t channels = 0;  // 0: there is no such input
  int64_t ring = 0;      // planes that are held, or 0 for all
  Norm norm;
};

/// Statistics of one channel over some voxels: Chan's formula merges them in the order of their slots.
struct Slot {
  float count, mean, m2;
};

/// A 3x3x3 convolution with padding 1 of one sample: planes [first, last) of its output. Two inputs stand for their
/// concatenation. The output may lie over an input where the caller has seen to it that no plane is read any more.
struct Conv {
  std::array<int64_t, 3> in_size{}, out_size{};  // H, W, D of the whole volumes; out = ceil(in / stride)
  int64_t stride = 1;                            // 1 or 2
  std::array<ConvInput, 2> inputs;
  /// f32 inputs: f32 [27][in][out], taps in the order (kh, kw, kd), in = both inputs' channels.
  /// Half inputs: their type, [27][pad16(out)][pad16(in0) + pad16(in1)], filled with zeros.
  const void* weights = nullptr;
  void* values = nullptr;  // plane h at h * W' * D' * out elements
  DType dtype = DType::f32;
  int64_t out = 0;  // channels
  int64_t first = 0, last = 0;
  Slot* slots = nullptr;    // [H'][conv3d_slots()][out], of the f32 results: the planes' are written
  void* scratch = nullptr;  // conv3d_scratch() bytes, not kept between calls
};

constexpr int64_t pad16(int64_t channels) { return (channels + 15) / 16 * 16; }

/// The ladder, slowest first. `automatic` takes the best that fits a convolution on a device.
/// `composed` is mma for up-sampled inputs, whose weights hold the up-sampling (conv3d_composed.h); others it refuses.
enum class ConvVariant : uint8_t { automatic, plain, tiled, mma, composed, wgmma, cudnn };
const char* name_of(ConvVariant variant);
ConvVariant parse_conv_variant(const std::string& name);  // throws Error that lists the names

/// "" or why a variant cannot compute this: a type, channels, an architecture, a library that is not there.
std::string conv3d_refusal(ConvVariant variant, const Conv& conv, const DeviceLimits& limits);
bool has_small_planes(const Conv& conv);  // that columns of 16 x 16 fit badly
/// The best rung up to `most` that can compute this; cuDNN is only taken where it is named.
ConvVariant choose_conv3d(const Conv& conv, const DeviceLimits& limits, ConvVariant most = ConvVariant::automatic);
int64_t conv3d_slots(ConvVariant variant, const Conv& conv);                                // a plane
int64_t conv3d_scratch(ConvVariant variant, const Conv& conv, const DeviceLimits& limits);  // bytes
void conv3d(const Queue& queue, ConvVariant variant, const Conv& conv);

// One rung each; conv3d() above dispatches. A rung's refusal, slots and scratch stand beside it.
void conv3d_plain(const Queue& queue, const Conv& conv);
void conv3d_tiled(const Queue& queue, const Conv& conv);
void conv3d_mma(const Queue& queue, const Conv& conv);
void conv3d_wgmma(const Queue& queue, const Conv& conv);
void conv3d_cudnn(const Queue& queue, const Conv& conv);
std::string conv3d_tiled_refusal(const Conv& conv, const DeviceLimits& limits);
std::string conv3d_mma_refusal(const Conv& conv, const DeviceLimits& limits);
std::string conv3d_wgmma_refusal(const Conv& conv, const DeviceLimits& limits);
std::string conv3d_cudnn_refusal(const Conv& conv, const DeviceLimits& limits);
int64_t conv3d_tiled_slots(const Conv& conv);
int64_t conv3d_mma_slots(const Conv& conv);
int64_t conv3d_wgmma_slots(const Conv& conv);
int64_t conv3d_mma_scratch(const Conv& conv, const DeviceLimits& limits);
int64_t conv3d_cudnn_scratch(const Conv& conv, const DeviceLimits& limits);

using Rung = void (*)(const Queue& queue, const Conv& conv);
/// Whether a rung with wgmma's slots gives the sums that mma gives, on tiles whose 27 taps start the reads of products
/// at any 16 bytes of a 128-byte line. Takes a few MB of the device and a few milliseconds; waits for it.
bool agrees_with_mma(const Queue& queue, Rung rung);
/// The same of conv3d_wgmma, asked once a process and device; true where wgmma is never taken.
bool wgmma_is_right(int device, const DeviceLimits& limits);

/// Pending norms [channels] from slots [count][channels], merged in order in f64. Sets `*trouble` to 1 where a channel
/// is not finite, to 2 where mean +- 8 deviations leave f16 and `half` says that it is held so.
void finish_norm(const Queue& queue, float* center, float* factor, float* shift, const Slot* slots, int64_t count,
                 int64_t channels, const float* gain, const float* bias, float eps, bool half, int* trouble);

/// Transposed convolution, kernel = stride = 2: planes [2 * first, 2 * last) of y from planes [first, last) of x.
///   weights: f32 x: [in][8 * out]; half x: [8 * out][pad16(in)]; outputs in the order (a, b, c, out). bias f32 [out].
/// Plane h of y lies at (ring ? h % ring : h) * 2W * 2D * out elements; y has x's type.
struct ConvTranspose {
  std::array<int64_t, 3> in_size{};
  ConvInput input;
  const void* weights = nullptr;
  const float* bias = nullptr;  // or null
  void* values = nullptr;
  int64_t out = 0, ring = 0, first = 0, last = 0;
};
void conv_transpose3d(const Queue& queue, const ConvTranspose& conv);

/// y f32 [voxels, channels] = the final values of x.
void finish_features(const Queue& queue, float* y, const ConvInput& x, int64_t voxels);

/// y f32 [H/k, W/k, D/k, C] = means over k x k x k blocks of the final values of one sample.
void avg_pool3d(const Queue& queue, float* y, const ConvInput& x, const std::array<int64_t, 3>& in_size, int64_t k);

// ---- matrices ------------------------------------------------------------------------------------------------------

/// to [rows, pad(columns)] in a half type = from f32 [rows, columns]; the padding is set to zero.
void narrow(const Queue& queue, void* to, DType dtype, const float* from, int64_t rows, int64_t columns,
            int64_t padded_columns);
/// y [rows, out] = act(y + bias), in place.
void bias_act(const Queue& queue, float* y, const float* bias, int64_t rows, int64_t out, Activation act);

enum class AttentionVariant : uint8_t { automatic, plain, fused };
const char* name_of(AttentionVariant variant);
AttentionVariant parse_attention_variant(const std::string& name);

/// Sizes of attention() of ops.h, f32 on both sides. `products`: the type in which products are taken.
struct Attention {
  const float *q, *k, *v, *bias;  // bias null for none
  float* y;
  int64_t queries, tokens, channels, heads;
  DType products = DType::f32;
};
/// "" or why a variant cannot compute this. `fused` needs half products and a head width of 32, 64 or 96 (others are
/// padded up to the next).
std::string attention_refusal(AttentionVariant variant, const Attention& sizes, const DeviceLimits& limits);
void attention(const Queue& queue, AttentionVariant variant, const Attention& sizes);

void gather_rows(const Queue& queue, float* y, const float* table, const int64_t* ids, int64_t rows, int64_t channels);
/// z[i] = x[i] + y[i % period]
void add(const Queue& queue, float* z, const float* x, const float* y, int64_t count, int64_t period);
void layer_norm(const Queue& queue, float* y, const float* x, const float* gain, const float* bias, int64_t rows,
                int64_t channels, float eps);

// ---- scores --------------------------------------------------------------------------------------------------------

/// Sizes of the arrays that ScoreRegion (ops.h) points into.
struct ScoreSizes {
  std::array<int64_t, 3> scores, features, importance;
  int64_t prompts;
};
/// scores f32 [S0, S1, S2, N] += importance * tanh(l / 2), l = features . masks; masks f32 [N, C] (row-major). Products
/// are taken in the features' type, sums in f32.
void accumulate_mask_scores(const Queue& queue, float* scores, const ConvInput& features, const float* masks,
                            const float* importance, const ScoreSizes& sizes, const ScoreRegion& region);
/// Where one window alone covers the voxels, the weights cancel: bits [prompts][ceil(voxels / 32)] of l > 0, voxel v in
/// bit v % 32 of word v / 32.
void mask_bits(const Queue& queue, uint32_t* bits, const ConvInput& features, const float* masks, int64_t voxels,
               int64_t prompts);
/// weights[v] += importance[v] over the region.
void accumulate_importance(const Queue& queue, float* weights, const float* importance, const ScoreSizes& sizes,
                           const ScoreRegion& region);
/// scores[((o * rows + r) * inner + i) * prompts + n] /= weights[(o * rows + r) * inner + i] for r in [first, last).
void divide_rows(const Queue& queue, float* scores, const float* weights, int64_t outer, int64_t rows, int64_t inner,
                 int64_t prompts, int64_t first, int64_t last);

}  // namespace sat::cuda
