// Gradients of what is done to images: axes that are sampled anew, and pooling by the largest.
#include "sat/cuda/backend.h"

namespace sat::cuda {

namespace {

constexpr int kThreads = 256;

Launch one_thread_each(const char* name, int64_t elements) {
  return {name, unsigned(divide_up(elements, kThreads)), kThreads};
}

__device__ int64_t element() { return int64_t(blockIdx.x) * kThreads + threadIdx.x; }

/// dx [outer, in, inner] from dy [outer, out, inner]: sums of weight[t] * dy[o, reader[t], c] over the places t in
/// [first[i], first[i + 1]) that read input i, in their order. One thread a value, neighbours along c. Traffic: a read
/// of dy a tap, mostly from the caches, 1 write.
__global__ void __launch_bounds__(kThreads)
    resample_gradient_kernel(float* dx, const float* dy, const int64_t* first, const int64_t* reader,
                             const float* weight, int64_t count, int64_t in, int64_t out, int64_t inner) {
  const int64_t at = element();
  if (at >= count) return;
  const int64_t c = at % inner, i = at / inner % in, o = at / inner / in;
  dy += o * out * inner + c;
  float sum = 0;
  for (int64_t t = first[i]; t < first[i + 1]; ++t) sum = fmaf(weight[t], dy[reader[t] * inner], sum);
  dx[at] = sum;
}

/// dx [B, H, W, C]: dy of a pixel's window, where the pixel is the first of the largest in it; else 0.
/// One thread a pixel's channel. Traffic: x once (the rest of its window from the caches), dy once, 1 write.
__global__ void __launch_bounds__(kThreads)
    max_pool2d_gradient_kernel(float* dx, const float* dy, const float* x, int64_t count, int64_t H, int64_t W,
                               int64_t C, int64_t k) {
  const int64_t at = element();
  if (at >= count) return;
  const int64_t c = at % C, column = at / C % W, row = at / C / W % H, b = at / C / W / H;
  const int64_t h = row / k, w = column / k;
  if (h >= H / k || w >= W / k) {
    dx[at] = 0;
    return;
  }
  const float* window = x + ((b * H + h * k) * W + w * k) * C + c;
  int64_t first = 0;
  float largest = *window;
  for (int64_t i = 1; i < k * k; ++i) {
    const float value = window[(i / k * W + i % k) * C];
    if (value > largest) largest = value, first = i;
  }
  dx[at] = first == (row - h * k) * k + column - w * k ? dy[((b * (H / k) + h) * (W / k) + w) * C + c] : 0.f;
}

}  // namespace

void CudaBackend::resample_gradient(Tensor& dx, const Tensor& dy, int axis, const AxisTaps& taps) {
  std::vector<int64_t> first(size_t(taps.in) + 1), reader(taps.index.size());
  std::vector<float> weight(taps.index.size());
  for (const int64_t i : taps.index) ++first[size_t(i) + 1];
  for (size_t i = 1; i < first.size(); ++i) first[i] += first[i - 1];
  std::vector<int64_t> next(first.begin(), first.end() - 1);
  for (size_t t = 0; t < taps.index.size(); ++t) {
    const auto place = size_t(next[size_t(taps.index[t])]++);
    reader[place] = int64_t(t) / taps.taps;
    weight[place] = taps.weight[t];
  }
  const Tensor first_there = runtime_.uploaded(first), reader_there = runtime_.uploaded(reader),
               weight_there = runtime_.uploaded(weight);
  int64_t inner = 1;
  for (int a = axis + 1; a < dx.shape.rank(); ++a) inner *= dx.shape[a];
  launch(runtime_.stream(), one_thread_each("resample_gradient", dx.numel()), resample_gradient_kernel,
         dx.address<float>(), dy.address<float>(), first_there.address<int64_t>(), reader_there.address<int64_t>(),
         weight_there.address<float>(), dx.numel(), taps.in, taps.out(), inner);
}

void CudaBackend::max_pool2d_gradient(Tensor& dx, const Tensor& dy, const Tensor& x, int64_t k) {
  launch(runtime_.stream(), one_thread_each("max_pool2d_gradient", x.numel()), max_pool2d_gradient_kernel,
         dx.address<float>(), dy.address<float>(), x.address<float>(), x.numel(), x.shape[1], x.shape[2], x.shape[3],
         k);
}

}  // namespace sat::cuda
