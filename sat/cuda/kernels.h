// Private: device kernels that more than one file calls: convolutions, attention and scores. They take raw device
// pointers and sizes that the ops have checked. Each function queues its work and returns. Volumes are channels-last,
// as on the CPU. A kernel that one op alone calls stands beside that op's body, and is not listed here.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "sat/cuda/device/stream.h"
#include "sat/tensor/ops.h"
#include "sat/tensor/ops/pending_norm.h"
#include "sat/tensor/ops/score_sizes.h"

namespace sat::cuda {

// ---- convolutions ---------------------------------------------------------------------------------------------------

/// One input of a convolution, one sample. Plane h lies at values + (ring ? h % ring : h) * W * D * channels elements;
/// only planes that are needed have to be there.
struct ConvInput {
  const void* values = nullptr;
  DType dtype = DType::f32;
  int64_t channels = 0;  // 0: there is no such input
  int64_t ring = 0;      // planes that are held, or 0 for all
  PendingNorm norm;      // zero padding is applied after it
};
/// Sample `sample` of a batch.
ConvInput input_of(const Features& x, int64_t sample);

/// Statistics of one channel over some voxels: Chan's formula merges them in the order of their partials.
struct PartialMoments {
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
  PartialMoments* partials = nullptr;  // [H'][conv3d_partials()][out], of the f32 results: the planes' are written
  void* workspace = nullptr;           // conv3d_workspace() bytes, not kept between calls
};

constexpr int64_t pad16(int64_t channels) { return (channels + 15) / 16 * 16; }

/// From the slowest to the fastest. `automatic` takes the best that fits a convolution on a device.
/// `composed` is mma for up-sampled inputs, whose weights hold the up-sampling (conv3d_composed.h); others it refuses.
enum class ConvVariant : uint8_t { automatic, plain, tiled, mma, composed, wgmma, cudnn };
const char* name_of(ConvVariant variant);
ConvVariant parse_conv_variant(const std::string& name);  // throws Error that lists the names

/// "" or why a variant cannot compute this: a type, channels, an architecture, a library that is not there.
std::string conv3d_refusal(ConvVariant variant, const Conv& conv, const DeviceLimits& limits);
bool has_small_planes(const Conv& conv);  // that columns of 16 x 16 fit badly
/// The best variant up to `most` that can compute this; cuDNN is only taken where it is named.
ConvVariant choose_conv3d(const Conv& conv, const DeviceLimits& limits, ConvVariant most = ConvVariant::automatic);
int64_t conv3d_partials(ConvVariant variant, const Conv& conv);                               // a plane
int64_t conv3d_workspace(ConvVariant variant, const Conv& conv, const DeviceLimits& limits);  // bytes
void conv3d(const Stream& stream, ConvVariant variant, const Conv& conv);

// One variant each; conv3d() above dispatches. A variant's refusal, partials and workspace stand beside it.
void conv3d_plain(const Stream& stream, const Conv& conv);
void conv3d_tiled(const Stream& stream, const Conv& conv);
void conv3d_mma(const Stream& stream, const Conv& conv);
void conv3d_wgmma(const Stream& stream, const Conv& conv);
void conv3d_cudnn(const Stream& stream, const Conv& conv);
std::string conv3d_tiled_refusal(const Conv& conv, const DeviceLimits& limits);
std::string conv3d_mma_refusal(const Conv& conv, const DeviceLimits& limits);
std::string conv3d_wgmma_refusal(const Conv& conv, const DeviceLimits& limits);
std::string conv3d_cudnn_refusal(const Conv& conv, const DeviceLimits& limits);
int64_t conv3d_tiled_partials(const Conv& conv);
int64_t conv3d_mma_partials(const Conv& conv);
int64_t conv3d_wgmma_partials(const Conv& conv);
int64_t conv3d_mma_workspace(const Conv& conv, const DeviceLimits& limits);
int64_t conv3d_cudnn_workspace(const Conv& conv, const DeviceLimits& limits);

using ConvKernel = void (*)(const Stream& stream, const Conv& conv);
/// Whether a kernel with wgmma's partials gives the sums that mma gives, on tiles whose 27 taps start the reads of
/// products at any 16 bytes of a 128-byte line. Takes a few MB of the device and a few milliseconds; waits for it.
bool agrees_with_mma(const Stream& stream, ConvKernel kernel);
/// The same of conv3d_wgmma, asked once a process and device; true where wgmma is never taken.
bool wgmma_is_right(int device, const DeviceLimits& limits);

/// Where the norm of a sample's channels goes, [channels] each: a PendingNorm, and 1 / deviation.
struct NormResult {
  float *center, *factor, *shift, *rstd;
};
/// The norm of a sample from partials [count][channels], merged in order in f64. Sets `*error_flag` to 1 where a
/// channel is not finite, to 2 where mean +- 8 deviations leave f16 and `half` says that it is held so.
void pending_norm(const Stream& stream, const NormResult& to, const PartialMoments* partials, int64_t count,
                  int64_t channels, const float* gain, const float* bias, float eps, bool half, int* error_flag);

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
void conv_transpose3d(const Stream& stream, const ConvTranspose& conv);
/// weight [in, out, 2, 2, 2] as ConvTranspose wants it for inputs of a type, on the CPU.
Tensor packed_up_sampling(const Tensor& weight, DType input);

// ---- attention ------------------------------------------------------------------------------------------------------

enum class AttentionVariant : uint8_t { automatic, plain, tiled, fused };
const char* name_of(AttentionVariant variant);
AttentionVariant parse_attention_variant(const std::string& name);

/// Sizes of attention() of ops.h, f32 on both sides: segments of equal sizes, one behind another.
struct Attention {
  const float *q, *k, *v, *bias;  // bias [heads, queries, tokens] null for none
  float* y;
  int64_t queries, tokens, channels, heads;  // of a segment
  DType products = DType::f32;               // the type in which products are taken
  int64_t segments = 1;
  int64_t bias_pitch = 0;            // from a segment's bias to the next one's; 0: all share one
  const uint8_t* regions = nullptr;  // of each row, where queries and keys are the same rows; null for none
  Dropout dropped{};                 // of the weights; `plain` alone takes it
  int64_t place = 0;                 // of these segments' first weight among all, as dropout counts them
};
/// What is added to the product of rows of different regions.
inline constexpr float kOtherRegion = -100;
/// "" or why a variant cannot compute this. `tiled` takes heads of up to 128 channels; `fused` needs half products and
/// a head width of 16, 32, 64 or 96 (others are padded up to the next).
std::string attention_refusal(AttentionVariant variant, const Attention& sizes, const DeviceLimits& limits);
void attention(const Stream& stream, AttentionVariant variant, const Attention& sizes);

// ---- scores ---------------------------------------------------------------------------------------------------------

/// scores f32 [S0, S1, S2, N] += importance * tanh(l / 2), l = features . masks; masks f32 [N, C] (row-major). Products
/// are taken in the features' type, sums in f32.
void accumulate_mask_scores(const Stream& stream, float* scores, const ConvInput& features, const float* masks,
                            const float* importance, const ScoreSizes& sizes, const ScoreRegion& region);
/// Where one window alone covers the voxels, the weights cancel: bits [prompts][ceil(voxels / 32)] of l > 0, voxel v in
/// bit v % 32 of word v / 32.
void mask_bits(const Stream& stream, uint32_t* bits, const ConvInput& features, const float* masks, int64_t voxels,
               int64_t prompts);

}  // namespace sat::cuda
