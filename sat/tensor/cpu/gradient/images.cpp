// Gradients of what samples images on the CPU.
#include <algorithm>

#include "sat/tensor/cpu/backend.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

void CpuBackend::max_pool2d_gradient(Tensor& dx, const Tensor& dy, const Tensor& x, int64_t k) {
  const Shape &large = x.shape, &small = dy.shape;
  const int64_t channels = large[3];
  const float *from = x.address<float>(), *upstream = dy.address<float>();
  float* to = dx.address<float>();
  parallel_for(large[0] * large[1], 4, [&](int64_t first, int64_t last) {  // lines that no window reads stay zero
    std::fill(to + first * large[2] * channels, to + last * large[2] * channels, 0.f);
  });
  parallel_for(small[0] * small[1], 1, [&](int64_t line, int64_t) {
    const int64_t b = line / small[1], h = line % small[1] * k;
    for (int64_t i = 0; i < small[2] * channels; ++i) {
      const int64_t w = i / channels * k, c = i % channels;
      int64_t largest = ((b * large[1] + h) * large[2] + w) * channels + c;  // of equals the first
      for (int64_t tap = 1; tap < k * k; ++tap) {
        const int64_t at = ((b * large[1] + h + tap / k) * large[2] + w + tap % k) * channels + c;
        if (from[at] > from[largest]) largest = at;
      }
      to[largest] = upstream[line * small[2] * channels + i];
    }
  });
}

void CpuBackend::resample_gradient(Tensor& dx, const Tensor& dy, int axis, const AxisTaps& taps) {
  int64_t outer = 1, inner = 1;
  for (int a = 0; a < axis; ++a) outer *= dx.shape[a];
  for (int a = axis + 1; a < dx.shape.rank(); ++a) inner *= dx.shape[a];
  const float* from = dy.address<float>();
  float* to = dx.address<float>();
  parallel_for(outer, 1, [&](int64_t block, int64_t) {
    float* sums = to + block * taps.in * inner;
    std::fill_n(sums, taps.in * inner, 0.f);
    for (int64_t i = 0; i < taps.out() * taps.taps; ++i) {
      const float weight = taps.weight[size_t(i)];
      const float* row = from + (block * taps.out() + i / taps.taps) * inner;
      for (int64_t c = 0; c < inner; ++c) sums[taps.index[size_t(i)] * inner + c] += weight * row[c];
    }
  });
}

}  // namespace sat::cpu
