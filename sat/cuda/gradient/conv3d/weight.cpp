// The gradient of a convolution's weight: pieces of the sum over voxels, by the kernel that suits, added up in order.
#include <algorithm>

#include "sat/cuda/backend.h"
#include "sat/cuda/gradient/conv3d/conv_gradient.h"
#include "sat/cuda/gradient/piece_sums.h"

namespace sat::cuda {

namespace {

constexpr int64_t kPieceVoxels = 2048;            // at least
constexpr int64_t kMostParts = int64_t(1) << 24;  // of all pieces: 64 MB
constexpr int64_t kMostPieces = 1024;

/// In how many pieces the voxels of a sample are summed: by sizes alone, so that the order of the sum is too.
int64_t pieces_of(int64_t voxels, int64_t sums) {
  const int64_t most = std::clamp<int64_t>(kMostParts / std::max<int64_t>(1, sums), 1, kMostPieces);
  return std::clamp<int64_t>(divide_up(voxels, kPieceVoxels), 1, most);
}

}  // namespace

void CudaBackend::conv3d_weight_gradient(Tensor& dw, const Features& x, const Tensor& dy, const Conv3dOptions& options,
                                         int64_t first_in) {
  const Stream& stream = runtime_.stream();
  const Shape &in = x.values.shape, &out = dy.shape;
  WeightGradient gradient{};
  gradient.in_size = grid_of(in, 1);
  gradient.out_size = grid_of(out, 1);
  gradient.kernel = grid_of(dw.shape, 2);
  gradient.stride = options.stride;
  gradient.padding = options.padding;
  gradient.out = out[4];
  gradient.x.channels = in[4];
  const int64_t voxels = out[1] * out[2] * out[3], columns = in[4] * gradient.taps(), sums = out[4] * columns;
  gradient.pieces = pieces_of(voxels, sums);
  Tensor parts({in[0] * gradient.pieces, sums}, DType::f32, dw.device);
  const bool is_mma = gradient_type() != DType::f32 && weight_gradient_mma_refusal(gradient).empty();
  Tensor values, upstream;  // of a sample, rounded
  if (is_mma) {
    values = Tensor({in[1], in[2], in[3], in[4]}, DType::bf16, dw.device);
    upstream = Tensor({voxels, out[4]}, DType::bf16, dw.device);
  }
  for (int64_t b = 0; b < in[0]; ++b) {
    gradient.x = input_of(x, b);
    gradient.dy = dy.address<float>() + b * voxels * out[4];
    gradient.parts = parts.address<float>() + b * gradient.pieces * sums;
    if (!is_mma) {
      weight_gradient_tiled(stream, gradient);
      continue;
    }
    round_features(stream, values.raw(), gradient.x, values.numel());
    round_features(stream, upstream.raw(), {gradient.dy, DType::f32, out[4], 0, {}}, upstream.numel());
    gradient.x = {values.raw(), DType::bf16, in[4], 0, {}};
    gradient.dy = upstream.raw();
    weight_gradient_mma(stream, gradient);
  }
  add_pieces(stream, dw.address<float>() + first_in * gradient.taps(), parts.address<float>(),
             {in[0] * gradient.pieces, columns, sums, out[4], dw.shape[1] * gradient.taps()});
}

}  // namespace sat::cuda
