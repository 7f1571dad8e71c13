// The variants of the convolution: their names, what each can compute, and which one is taken.
#include <string>

#include "sat/cuda/kernels.h"

namespace sat::cuda {

namespace {

constexpr ConvVariant kVariants[] = {ConvVariant::automatic, ConvVariant::plain, ConvVariant::tiled, ConvVariant::mma,
                                     ConvVariant::composed,  ConvVariant::wgmma, ConvVariant::cudnn};

// Voxels of a plane below which columns of 16 x 16 fit badly and are too few: there `mma` splits sums over blocks.
constexpr int64_t kSmallPlane = 1024;

}  // namespace

const char* name_of(ConvVariant variant) {
  constexpr const char* kNames[] = {"automatic", "plain", "tiled", "mma", "composed", "wgmma", "cudnn"};
  return kNames[size_t(variant)];
}

ConvVariant parse_conv_variant(const std::string& name) {
  std::string known;
  for (ConvVariant variant : kVariants) {
    if (name == name_of(variant)) return variant;
    known += (known.empty() ? "" : ", ") + std::string(name_of(variant));
  }
  fail("unknown convolution variant '", name, "'; it is one of ", known);
}

std::string conv3d_refusal(ConvVariant variant, const Conv& conv, const DeviceLimits& limits) {
  switch (variant) {
    case ConvVariant::automatic:
    case ConvVariant::plain: return "";
    case ConvVariant::tiled: return conv3d_tiled_refusal(conv, limits);
    case ConvVariant::mma: return conv3d_mma_refusal(conv, limits);
    case ConvVariant::composed: return "is for an input that is up-sampled on the way";
    case ConvVariant::wgmma: return conv3d_wgmma_refusal(conv, limits);
    case ConvVariant::cudnn: return conv3d_cudnn_refusal(conv, limits);
  }
  fail("unknown variant ", int(variant));
}

bool has_small_planes(const Conv& conv) { return conv.out_size[1] * conv.out_size[2] < kSmallPlane; }

ConvVariant choose_conv3d(const Conv& conv, const DeviceLimits& limits, ConvVariant most) {
  if (most == ConvVariant::automatic) most = has_small_planes(conv) ? ConvVariant::mma : ConvVariant::wgmma;
  for (ConvVariant variant : {ConvVariant::cudnn, ConvVariant::wgmma, ConvVariant::mma, ConvVariant::tiled}) {
    if (variant <= most && conv3d_refusal(variant, conv, limits).empty()) return variant;
  }
  return ConvVariant::plain;
}

int64_t conv3d_partials(ConvVariant variant, const Conv& conv) {
  switch (variant) {
    case ConvVariant::tiled: return conv3d_tiled_partials(conv);
    case ConvVariant::mma: return conv3d_mma_partials(conv);
    case ConvVariant::wgmma: return conv3d_wgmma_partials(conv);
    default: return conv.out_size[1];  // plain and cudnn: one a row
  }
}

int64_t conv3d_workspace(ConvVariant variant, const Conv& conv, const DeviceLimits& limits) {
  if (variant == ConvVariant::mma) return conv3d_mma_workspace(conv, limits);
  if (variant == ConvVariant::cudnn) return conv3d_cudnn_workspace(conv, limits);
  return 0;
}

void conv3d(const Stream& stream, ConvVariant variant, const Conv& conv) {
  const std::string refusal = conv3d_refusal(variant, conv, stream.limits);
  SAT_CHECK(refusal.empty(), "conv3d by ", name_of(variant), ": ", refusal);
  switch (variant) {
    case ConvVariant::automatic: return conv3d(stream, choose_conv3d(conv, stream.limits), conv);
    case ConvVariant::plain: return conv3d_plain(stream, conv);
    case ConvVariant::tiled: return conv3d_tiled(stream, conv);
    case ConvVariant::mma: return conv3d_mma(stream, conv);
    case ConvVariant::composed: fail("conv3d: a composed convolution has its own entry");
    case ConvVariant::wgmma: return conv3d_wgmma(stream, conv);
    case ConvVariant::cudnn: return conv3d_cudnn(stream, conv);
  }
}

}  // namespace sat::cuda
