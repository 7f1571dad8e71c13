// Images on the CPU: patches, resampling along an axis, pooling. Loops that wait for memory have one form.
#include <algorithm>

#include "sat/tensor/cpu/backend.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

/// Calls copy(pixel, patch, count) for every run of pixels that lie side by side both in an image [B, h * p, W, C] and
/// in its patches [B, h, w, p * p * C]; offsets and counts in values.
template <class Copy>
void for_each_patch_row(const Shape& image, const Shape& patches, int64_t p, const Copy& copy) {
  const int64_t h = patches[1], w = patches[2], run = p * image[3];
  parallel_for(patches[0] * h, 1, [&](int64_t line, int64_t) {
    const int64_t first_row = line / h * image[1] + line % h * p;  // of all images' pixel rows
    for (int64_t row = 0; row < p; ++row) {
      for (int64_t column = 0; column < w; ++column) {
        copy(((first_row + row) * image[2] + column * p) * image[3], (line * w + column) * p * run + row * run, run);
      }
    }
  });
}

}  // namespace

void CpuBackend::split_patches(Tensor& y, const Tensor& x, int64_t p) {
  float* to = y.address<float>();
  const float* from = x.address<float>();
  for_each_patch_row(x.shape, y.shape, p, [&](int64_t pixel, int64_t patch, int64_t count) {
    std::copy_n(from + pixel, count, to + patch);
  });
}

void CpuBackend::join_patches(Tensor& y, const Tensor& x, int64_t p) {
  float* to = y.address<float>();
  const float* from = x.address<float>();
  for_each_patch_row(y.shape, x.shape, p, [&](int64_t pixel, int64_t patch, int64_t count) {
    std::copy_n(from + patch, count, to + pixel);
  });
}

void CpuBackend::resample(Tensor& y, const Tensor& x, int axis, const AxisTaps& taps) {
  int64_t outer = 1, inner = 1;
  for (int a = 0; a < axis; ++a) outer *= x.shape[a];
  for (int a = axis + 1; a < x.shape.rank(); ++a) inner *= x.shape[a];
  const int64_t out = taps.out();
  float* to = y.address<float>();
  const float* from = x.address<float>();
  parallel_for(outer * out, 1, [&](int64_t row, int64_t) {
    const int64_t i = row % out;
    const float* source = from + row / out * taps.in * inner;
    float* sums = to + row * inner;
    std::fill_n(sums, inner, 0.f);
    for (int64_t t = i * taps.taps; t < (i + 1) * taps.taps; ++t) {
      const float weight = taps.weight[size_t(t)];
      const float* values = source + taps.index[size_t(t)] * inner;
      for (int64_t c = 0; c < inner; ++c) sums[c] += weight * values[c];
    }
  });
}

void CpuBackend::max_pool2d(Tensor& y, const Tensor& x, int64_t k) {
  const int64_t width = x.shape[2], channels = x.shape[3], rows = y.shape[1], columns = y.shape[2];
  float* to = y.address<float>();
  const float* from = x.address<float>();
  parallel_for(y.shape[0] * rows, 1, [&](int64_t line, int64_t) {
    const int64_t first_row = line / rows * x.shape[1] + line % rows * k;
    for (int64_t column = 0; column < columns; ++column) {
      float* largest = to + (line * columns + column) * channels;
      for (int64_t pixel = 0; pixel < k * k; ++pixel) {
        const float* values = from + ((first_row + pixel / k) * width + column * k + pixel % k) * channels;
        for (int64_t c = 0; c < channels; ++c) largest[c] = pixel == 0 ? values[c] : std::max(largest[c], values[c]);
      }
    }
  });
}

}  // namespace sat::cpu
