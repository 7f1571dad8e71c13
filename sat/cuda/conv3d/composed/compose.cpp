// Composes a transposed convolution (kernel = stride = 2) with the 3x3x3 convolution behind it, on the host.
//
// Along an axis, tap k in {0, 1, 2} of output 2i + p reads up-sampled voxel 2i + p + k - 1. That is corner
// (p + k + 1) % 2 of low voxel i - 1 + (p + k + 1) / 2, so a parity p reads two low voxels: i - 1 + p and the next.
#include <vector>

#include "sat/cuda/conv3d/composed/conv3d_composed.h"
#include "sat/tensor/error.h"
#include "sat/tensor/parallel.h"

namespace sat::cuda {

namespace {

constexpr int64_t kTaps = 27;

/// Which low tap, and which corner of its voxel, a tap of an output's parity reads.
struct LowTap {
  int64_t tap, corner;  // row-major in {0, 1}^3
};

LowTap low_tap(int64_t parity, int64_t tap) {
  LowTap low{0, 0};
  for (int64_t axis = 0, by = 9; axis < 3; ++axis, by /= 3) {
    const int64_t p = parity >> (2 - axis) & 1, at = p + tap / by % 3 + 1;
    low.tap = 2 * low.tap + at / 2 - p;
    low.corner = 2 * low.corner + at % 2;
  }
  return low;
}

/// Whether a tap stays inside the volume for voxels of a border class.
bool is_inside(int64_t border, int64_t tap) {
  for (int64_t by = 9; by > 0; by /= 3) {
    const int64_t place = border / by % 3, step = tap / by % 3;
    if ((place == 0 && step == 0) || (place == 2 && step == 2)) return false;
  }
  return true;
}

}  // namespace

ComposedWeights compose_up(const Tensor& weight, const Tensor& up, const Tensor& up_bias) {
  const int64_t out = weight.shape[0], joined = weight.shape[1], in = up.shape[0], middle = up.shape[1];
  SAT_CHECK(middle <= joined && (up_bias.empty() || up_bias.numel() == middle), "compose_up: the weight has shape ",
            weight.shape, ", the up-sampling ", up.shape, ", its bias ", up_bias.shape);
  const float* kernel = weight.address<float>();
  std::vector<double> corners(size_t(8 * middle * in));  // [corner][middle][in]
  parallel_for(in, 1, [&](int64_t c, int64_t) {
    for (int64_t i = 0; i < middle * 8; ++i) {
      corners[size_t((i % 8 * middle + i / 8) * in + c)] = double(up.data<float>()[c * middle * 8 + i]);
    }
  });
  const int64_t rows = pad16(out), columns = pad16(in);
  ComposedWeights composed{Tensor({8, 8, rows, columns}), Tensor({kTaps, out})};
  parallel_for(8 * rows, 1, [&](int64_t row, int64_t) {
    const int64_t parity = row / rows, o = row % rows;
    std::vector<double> sums(size_t(8 * columns));  // beyond the channels they stay zero
    for (int64_t tap = 0; tap < kTaps && o < out; ++tap) {
      const LowTap at = low_tap(parity, tap);
      double* sum = &sums[size_t(at.tap * columns)];
      for (int64_t m = 0; m < middle; ++m) {
        const double factor = double(kernel[(o * joined + m) * kTaps + tap]);
        const double* corner = &corners[size_t((at.corner * middle + m) * in)];
        for (int64_t c = 0; c < in; ++c) sum[c] += factor * corner[c];
      }
    }
    float* low = composed.low.data<float>();
    for (int64_t i = 0; i < 8 * columns; ++i) {
      low[((parity * 8 + i / columns) * rows + o) * columns + i % columns] = float(sums[size_t(i)]);
    }
  });
  parallel_for(kTaps, 1, [&](int64_t border, int64_t) {
    for (int64_t o = 0; o < out; ++o) {
      double sum = 0;
      for (int64_t i = 0; i < (up_bias.empty() ? 0 : middle * kTaps); ++i) {
        if (!is_inside(border, i % kTaps)) continue;
        sum += double(kernel[o * joined * kTaps + i]) * double(up_bias.data<float>()[i / kTaps]);
      }
      composed.bias.data<float>()[border * out + o] = float(sum);
    }
  });
  return composed;
}

}  // namespace sat::cuda
