// Images on the device: patches, axes that are sampled anew, pooling. All wait for memory alone.
#include "sat/cuda/backend.h"

namespace sat::cuda {

namespace {

constexpr int kThreads = 256;

Launch one_thread_each(const char* name, int64_t elements) {
  return {name, unsigned(divide_up(elements, kThreads)), kThreads};
}

__device__ int64_t element() { return int64_t(blockIdx.x) * kThreads + threadIdx.x; }

/// An image [B, H, W, C] and its patches [B, H / p, W / p, p * p * C].
struct Patches {
  float* to;
  const float* from;
  int64_t count, H, W, C, p;  // `count` values are in patches

  /// Where value i of the patches lies in the image.
  __device__ int64_t in_image(int64_t i) const {
    const int64_t h = H / p, w = W / p, c = i % C, column = i / C % p, row = i / C / p % p, patch = i / C / p / p;
    return ((patch / w / h * H + patch / w % h * p + row) * W + patch % w * p + column) * C + c;
  }
};

/// One thread a value, in the order of the patches: runs of p * C neighbours on both sides. Traffic: 1 read, 1 write.
template <bool kSplit>
__global__ void __launch_bounds__(kThreads) patches_kernel(const Patches patches) {
  const int64_t i = element();
  if (i >= patches.count) return;
  const int64_t pixel = patches.in_image(i);
  if constexpr (kSplit) {
    patches.to[i] = patches.from[pixel];
  } else {
    patches.to[pixel] = patches.from[i];
  }
}

/// y [outer, out, inner] from x [outer, in, inner]: y[o, i, c] = sum over t of weight[i, t] * x[o, index[i, t], c], t
/// in order. One thread a value, neighbours along c, so that all lanes of a warp have the same taps where inner is
/// long. Traffic: `taps` reads of x, mostly from the caches, 1 write.
__global__ void __launch_bounds__(kThreads)
    resample_kernel(float* y, const float* x, const int64_t* index, const float* weight, int64_t count, int64_t in,
                    int64_t out, int64_t inner, int64_t taps) {
  const int64_t at = element();
  if (at >= count) return;
  const int64_t c = at % inner, i = at / inner % out, o = at / inner / out;
  x += o * in * inner + c;
  float sum = 0;
  for (int64_t t = i * taps; t < (i + 1) * taps; ++t) sum = fmaf(weight[t], x[index[t] * inner], sum);
  y[at] = sum;
}

/// y [B, h, w, C] = the largest of k x k pixels of x [B, H, W, C]. One thread a value, neighbours along channels.
/// Traffic: 1 read of x, 1 write.
__global__ void __launch_bounds__(kThreads)
    max_pool2d_kernel(float* y, const float* x, int64_t count, int64_t H, int64_t W, int64_t C, int64_t k) {
  const int64_t at = element();
  if (at >= count) return;
  const int64_t h = H / k, w = W / k, c = at % C, column = at / C % w, line = at / C / w;
  x += ((line / h * H + line % h * k) * W + column * k) * C + c;
  float largest = *x;
  for (int64_t row = 0; row < k; ++row) {
    for (int64_t i = 0; i < k; ++i) largest = fmaxf(largest, x[(row * W + i) * C]);
  }
  y[at] = largest;
}

}  // namespace

void CudaBackend::split_patches(Tensor& y, const Tensor& x, int64_t p) {
  launch(runtime_.stream(), one_thread_each("split_patches", y.numel()), patches_kernel<true>,
         Patches{y.address<float>(), x.address<float>(), y.numel(), x.shape[1], x.shape[2], x.shape[3], p});
}

void CudaBackend::join_patches(Tensor& y, const Tensor& x, int64_t p) {
  launch(runtime_.stream(), one_thread_each("join_patches", x.numel()), patches_kernel<false>,
         Patches{y.address<float>(), x.address<float>(), x.numel(), y.shape[1], y.shape[2], y.shape[3], p});
}

void CudaBackend::resample(Tensor& y, const Tensor& x, int axis, const AxisTaps& taps) {
  const Tensor index = runtime_.uploaded(taps.index), weight = runtime_.uploaded(taps.weight);
  int64_t inner = 1;
  for (int a = axis + 1; a < x.shape.rank(); ++a) inner *= x.shape[a];
  launch(runtime_.stream(), one_thread_each("resample", y.numel()), resample_kernel, y.address<float>(),
         x.address<float>(), index.address<int64_t>(), weight.address<float>(), y.numel(), taps.in, taps.out(), inner,
         taps.taps);
}

void CudaBackend::max_pool2d(Tensor& y, const Tensor& x, int64_t k) {
  launch(runtime_.stream(), one_thread_each("max_pool2d", y.numel()), max_pool2d_kernel, y.address<float>(),
         x.address<float>(), y.numel(), x.shape[1], x.shape[2], x.shape[3], k);
}

}  // namespace sat::cuda
