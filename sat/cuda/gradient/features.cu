// Gradients of what is done to features: instance norm with its leaky ReLU, pooling, blocks of voxels.
#include "sat/cuda/backend.h"
#include "sat/cuda/gradient/column_sums.cuh"
#include "sat/cuda/gradient/feature_value.cuh"

namespace sat::cuda {

namespace {

constexpr int kThreads = 256;

Launch one_thread_each(const char* name, int64_t elements) {
  return {name, unsigned(divide_up(elements, kThreads)), kThreads};
}

__device__ int64_t element() { return int64_t(blockIdx.x) * kThreads + threadIdx.x; }

/// A norm's result of one sample, and the gradient d of its final values. With n = (y - center) * factor + shift, which
/// the ReLU takes, dn = d * (n < 0 ? slope : 1) and z = (y - center) * rstd.
struct NormOfSample {
  ConvInput y;
  const float* rstd;
  float* d;

  __device__ float slanted(int64_t i, int64_t c, float off) const {
    return fmaf(off, y.norm.factor[c], y.norm.shift[c]) < 0 ? y.norm.slope * d[i] : d[i];
  }
  /// dn and dn * z, whose sums are those of bias and gain.
  __device__ void operator()(float (&to)[2], int64_t voxel, int64_t c) const {
    const int64_t i = voxel * y.channels + c;
    const float off = raw_value(y, i) - y.norm.center[c];
    to[0] = slanted(i, c, off);
    to[1] = to[0] * (off * rstd[c]);
  }
};

/// d = gain * rstd * (dn - mean(dn) - z * mean(dn z)), over itself, from the sums [2][channels] of dn and dn z.
/// One thread a value. Traffic: 1 read of y, 1 read and write of d.
__global__ void __launch_bounds__(kThreads)
    norm_gradient_kernel(const NormOfSample norm, const double* sums, int64_t count, double voxels) {
  const int64_t i = element(), channels = norm.y.channels, c = i % channels;
  if (i >= count) return;
  const float off = raw_value(norm.y, i) - norm.y.norm.center[c];
  const float mean = float(sums[c] / voxels), lean = float(sums[channels + c] / voxels) * norm.rstd[c];
  norm.d[i] = norm.y.norm.factor[c] * (norm.slanted(i, c, off) - mean - off * lean);
}

/// dx [B, H, W, D, C] = (add: itself +) dy [B, H/k, W/k, D/k, C] / k^3. One thread a value. Traffic: 1 write, 1 read
/// where it adds, dy from the caches.
__global__ void __launch_bounds__(kThreads)
    avg_pool3d_gradient_kernel(float* dx, const float* dy, bool add, int64_t count, int64_t H, int64_t W, int64_t D,
                               int64_t C, int64_t k) {
  const int64_t i = element();
  if (i >= count) return;
  const int64_t c = i % C, d = i / C % D, w = i / C / D % W, h = i / C / D / W % H, b = i / C / D / W / H;
  const int64_t block = ((b * (H / k) + h / k) * (W / k) + w / k) * (D / k) + d / k;
  const float share = dy[block * C + c] / float(k * k * k);
  dx[i] = add ? dx[i] + share : share;
}

/// y [B, h, w, d, 8 C] of x [B, 2h, 2w, 2d, C]. One thread a value, in y's order: runs of 2 C neighbours on both sides.
/// Traffic: 1 read, 1 write.
__global__ void __launch_bounds__(kThreads)
    split_blocks_kernel(float* y, const float* x, int64_t count, int64_t h, int64_t w, int64_t d, int64_t C) {
  const int64_t i = element();
  if (i >= count) return;
  const int64_t c = i % C, tap = i / C % 8, voxel = i / C / 8;
  const int64_t at_d = 2 * (voxel % d) + tap % 2, at_w = 2 * (voxel / d % w) + tap / 2 % 2;
  const int64_t at_h = 2 * (voxel / d / w) + tap / 4;  // of the samples' rows, one below another
  y[i] = x[((at_h * 2 * w + at_w) * 2 * d + at_d) * C + c];
}

}  // namespace

void CudaBackend::norm_gradient(Tensor& d, Tensor& dgain, Tensor& dbias, const Features& y, const NormWeights&) {
  const Stream& stream = runtime_.stream();
  const Shape& shape = y.values.shape;
  const int64_t batch = shape[0], channels = shape[4], voxels = shape[1] * shape[2] * shape[3];
  Tensor all = doubles({batch, 2, channels}, d.device);
  auto* sums = static_cast<double*>(all.raw());
  for (int64_t b = 0; b < batch; ++b) {
    const NormOfSample norm{input_of(y, b), y.rstd.address<float>() + b * channels,
                            d.address<float>() + b * voxels * channels};
    double* own = sums + b * 2 * channels;
    column_sums<2>(stream, "norm_sums", own, norm, voxels, channels, d.device);
    launch(stream, one_thread_each("norm_gradient", voxels * channels), norm_gradient_kernel, norm, own,
           voxels * channels, double(voxels));
  }
  add_pieces(stream, dbias.address<float>(), sums, {batch, channels, 2 * channels});
  add_pieces(stream, dgain.address<float>(), sums + channels, {batch, channels, 2 * channels});
}

void CudaBackend::avg_pool3d_gradient(Tensor& dx, bool add, const Tensor& dy, int64_t k) {
  const Shape& shape = dx.shape;
  launch(runtime_.stream(), one_thread_each("avg_pool3d_gradient", dx.numel()), avg_pool3d_gradient_kernel,
         dx.address<float>(), dy.address<float>(), add, dx.numel(), shape[1], shape[2], shape[3], shape[4], k);
}

void CudaBackend::split_blocks(Tensor& y, const Tensor& x) {
  launch(runtime_.stream(), one_thread_each("split_blocks", y.numel()), split_blocks_kernel, y.address<float>(),
         x.address<float>(), y.numel(), y.shape[1], y.shape[2], y.shape[3], x.shape[4]);
}

}  // namespace sat::cuda
