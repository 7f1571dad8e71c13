// The convolution of ops.h in f32: any kernel size, stride and padding.
#include "sat/cuda/conv3d/general/conv3d_general.h"

#include "sat/cuda/backend.h"

namespace sat::cuda {

namespace {

// Below so many outputs most of a tile's 64 columns would be empty.
constexpr int64_t kTiledOutputs = 8;

}  // namespace

void conv3d_general(const Stream& stream, const GeneralConv& conv) {
  if (conv.out < kTiledOutputs) return conv3d_general_plain(stream, conv);
  conv3d_general_tiled(stream, conv);
}

PackedConv3d CudaBackend::pack_conv3d(const Tensor& weight) {
  PackedConv3d packed;
  packed.out = weight.shape[0];
  packed.in = weight.shape[1];
  packed.kernel = grid_of(weight.shape, 2);
  const int64_t taps = packed.kernel[0] * packed.kernel[1] * packed.kernel[2];
  Tensor panels({taps, packed.in, packed.out});
  const float* from = weight.address<float>();
  float* to = panels.address<float>();
  parallel_for(taps, 1, [&](int64_t tap, int64_t) {
    for (int64_t c = 0; c < packed.in; ++c) {
      for (int64_t o = 0; o < packed.out; ++o) {
        to[(tap * packed.in + c) * packed.out + o] = from[(o * packed.in + c) * taps + tap];
      }
    }
  });
  packed.panels = panels.to(runtime_.device());
  return packed;
}

void CudaBackend::conv3d(Tensor& y, const Tensor& x, const PackedConv3d& weight, const Tensor& bias,
                         const Conv3dOptions& options) {
  GeneralConv conv{};
  conv.in_size = grid_of(x.shape, 1);
  conv.out_size = grid_of(y.shape, 1);
  conv.kernel = weight.kernel;
  conv.stride = options.stride;
  conv.padding = options.padding;
  conv.batch = x.shape[0];
  conv.in = weight.in;
  conv.out = weight.out;
  conv.x = x.address<float>();
  conv.weights = weight.panels.address<float>();
  conv.bias = bias.address<float>();
  conv.y = y.address<float>();
  conv3d_general(runtime_.stream(), conv);
}

}  // namespace sat::cuda
