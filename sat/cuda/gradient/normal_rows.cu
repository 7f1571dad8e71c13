// Gradients of rows that are normalised: layer norm, and rows of length 1.
#include "sat/cuda/backend.h"
#include "sat/cuda/device/warp.cuh"
#include "sat/cuda/gradient/column_sums.cuh"

namespace sat::cuda {

namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr float kLeastLength = 1e-12f;  // of a row that is divided by it, as torch.nn.functional.normalize

/// A row's mean in two parts, the second what rounding the first left: rows far from zero keep their digits.
struct RowMoments {
  float mean, rest, rstd;
  __device__ float off(float x) const { return x - mean - rest; }
};

/// dx [rows, channels] of y = (x - mean) * rstd * gain + bias: with g = dy * gain and z = (x - mean) * rstd,
/// dx = rstd * (g - mean(g) - z * mean(g z)); and the row's moments for dgain and dbias. Gain null for 1.
/// One warp a row, as in the forward pass. Traffic: 1 read of x and dy (the later ones come from the L1 cache), 1
/// write.
__global__ void __launch_bounds__(kThreads)
    layer_norm_gradient_kernel(float* dx, RowMoments* moments, const float* dy, const float* x, const float* gain,
                               int64_t rows, int64_t channels, float eps) {
  const int64_t row = int64_t(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (row >= rows) return;
  const int lane = int(threadIdx.x) % 32;
  x += row * channels;
  dy += row * channels;
  float sum = 0;
  for (int64_t c = lane; c < channels; c += 32) sum += x[c];
  RowMoments own{warp_sum(sum) / float(channels), 0, 0};
  float rest = 0;
  for (int64_t c = lane; c < channels; c += 32) rest += x[c] - own.mean;
  own.rest = warp_sum(rest) / float(channels);
  float squares = 0;
  for (int64_t c = lane; c < channels; c += 32) squares += own.off(x[c]) * own.off(x[c]);
  own.rstd = 1 / sqrtf(warp_sum(squares) / float(channels) + eps);
  float along = 0, lean = 0;
  for (int64_t c = lane; c < channels; c += 32) {
    const float g = gain ? dy[c] * gain[c] : dy[c];
    along += g;
    lean += g * (own.off(x[c]) * own.rstd);
  }
  along = warp_sum(along) / float(channels);
  lean = warp_sum(lean) / float(channels);
  if (lane == 0) moments[row] = own;
  if (dx == nullptr) return;
  for (int64_t c = lane; c < channels; c += 32) {
    const float g = gain ? dy[c] * gain[c] : dy[c];
    dx[row * channels + c] = own.rstd * (g - along - own.off(x[c]) * own.rstd * lean);
  }
}

/// What dgain and dbias are sums of: dy * z, and dy.
struct LayerNormTerms {
  const float *dy, *x;
  const RowMoments* moments;
  int64_t channels;
  __device__ void operator()(float (&to)[2], int64_t row, int64_t column) const {
    const int64_t at = row * channels + column;
    to[0] = dy[at] * (moments[row].off(x[at]) * moments[row].rstd);
    to[1] = dy[at];
  }
};

/// y [rows, channels] = x / |x| of each row; with dy its gradient, dx = (dy - y (y . dy)) / |x|, into `to`.
/// One warp a row. Traffic: 1 read of x and of dy, 1 write.
__global__ void __launch_bounds__(kThreads)
    normalize_rows_kernel(float* to, const float* dy, const float* x, int64_t rows, int64_t channels) {
  const int64_t row = int64_t(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (row >= rows) return;
  const int lane = int(threadIdx.x) % 32;
  x += row * channels;
  to += row * channels;
  float squares = 0;
  for (int64_t c = lane; c < channels; c += 32) squares += x[c] * x[c];
  const float length = fmaxf(sqrtf(warp_sum(squares)), kLeastLength);
  if (dy == nullptr) {
    for (int64_t c = lane; c < channels; c += 32) to[c] = x[c] / length;
    return;
  }
  dy += row * channels;
  float along = 0;
  for (int64_t c = lane; c < channels; c += 32) along += x[c] / length * dy[c];
  along = warp_sum(along);
  for (int64_t c = lane; c < channels; c += 32) to[c] = (dy[c] - x[c] / length * along) / length;
}

Launch one_warp_each(const char* name, int64_t rows) { return {name, unsigned(divide_up(rows, kWarps)), kThreads}; }

}  // namespace

void CudaBackend::layer_norm_gradient(Tensor& dx, Tensor& dgain, Tensor& dbias, const Tensor& dy, const Tensor& x,
                                      const Tensor& gain, float eps) {
  const Stream& stream = runtime_.stream();
  const int64_t channels = x.shape[-1], rows = x.numel() / std::max<int64_t>(1, channels);
  Tensor moments({rows, 3}, DType::f32, x.device);
  auto* of_rows = reinterpret_cast<RowMoments*>(moments.address<float>());
  launch(stream, one_warp_each("layer_norm_gradient", rows), layer_norm_gradient_kernel, dx.address<float>(), of_rows,
         dy.address<float>(), x.address<float>(), gain.address<float>(), rows, channels, eps);
  if (dgain.empty() && dbias.empty()) return;
  const LayerNormTerms terms{dy.address<float>(), x.address<float>(), of_rows, channels};
  Tensor both = doubles({2, channels}, x.device);
  auto* sums = static_cast<double*>(both.raw());
  column_sums<2>(stream, "layer_norm_sums", sums, terms, rows, channels, x.device);
  if (!dgain.empty()) add_pieces(stream, dgain.address<float>(), sums, {1, channels, channels});
  if (!dbias.empty()) add_pieces(stream, dbias.address<float>(), sums + channels, {1, channels, channels});
}

void CudaBackend::normalize_rows(Tensor& y, const Tensor& x) {
  const float* none = nullptr;
  launch(runtime_.stream(), one_warp_each("normalize_rows", x.shape[0]), normalize_rows_kernel, y.address<float>(),
         none, x.address<float>(), x.shape[0], x.shape[1]);
}

void CudaBackend::normalize_rows_gradient(Tensor& dx, const Tensor& dy, const Tensor& x) {
  launch(runtime_.stream(), one_warp_each("normalize_rows_gradient", x.shape[0]), normalize_rows_kernel,
         dx.address<float>(), dy.address<float>(), x.address<float>(), x.shape[0], x.shape[1]);
}

}  // namespace sat::cuda
