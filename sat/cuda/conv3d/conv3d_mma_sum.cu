// The end of a convolution on tensor cores whose input channels were split over blocks: the sums of the parts.
#include "sat/cuda/conv3d/conv3d_mma.cuh"
#include "sat/cuda/device/half_types.cuh"

namespace sat::cuda {

namespace {

constexpr int kChannels = 32, kRows = 8;  // threads of a block
constexpr int kMostVoxels = 256;          // of a plane

/// split_sums [splits][planes][area][out] -> values [planes][area][out], moments [planes][partials_a_plane][out].
/// A block takes a plane and 32 channels, a thread every eighth voxel of one; warps read 128 bytes. Splits are added
/// in their order; mean and M2 in two passes over sums in registers, rows of threads in their order.
/// Traffic: the split sums once, the values once.
template <class Out>
__global__ __launch_bounds__(kChannels* kRows) void conv3d_mma_sum_kernel(Out* values, PartialMoments* moments,
                                                                          const float* split_sums, int splits,
                                                                          int64_t planes, int area, int64_t out,
                                                                          int64_t partials_a_plane) {
  __shared__ float rows[kRows][kChannels];
  const int64_t channel = int64_t(blockIdx.y) * kChannels + threadIdx.x, plane = blockIdx.x;
  const bool there = channel < out;
  split_sums += plane * area * out + channel;
  values += plane * area * out + channel;
  float sums[kMostVoxels / kRows];
#pragma unroll
  for (int i = 0; i < kMostVoxels / kRows; ++i) {
    const int voxel = i * kRows + int(threadIdx.y);
    sums[i] = 0;
    if (!there || voxel >= area) continue;
    for (int split = 0; split < splits; ++split) sums[i] += split_sums[(split * planes * area + voxel) * out];
    values[voxel * out] = rounded<Out>(sums[i]);
  }
  float mean = 0, total = 0;
  for (int pass = 0; pass < 2; ++pass) {
    float part = 0;
#pragma unroll
    for (int i = 0; i < kMostVoxels / kRows; ++i) {
      const float apart = sums[i] - mean;
      if (i * kRows + int(threadIdx.y) < area) part += pass == 0 ? apart : apart * apart;
    }
    __syncthreads();
    rows[threadIdx.y][threadIdx.x] = part;
    __syncthreads();
    total = 0;
    for (int row = 0; row < kRows; ++row) total += rows[row][threadIdx.x];
    if (pass == 0) mean = total / float(area);
  }
  if (!there) return;
  for (int64_t i = threadIdx.y; i < partials_a_plane; i += kRows) {
    moments[(plane * partials_a_plane + i) * out + channel] =
        i == 0 ? PartialMoments{float(area), mean, total} : PartialMoments{0, 0, 0};
  }
}

}  // namespace

void conv3d_mma_sum(const Stream& stream, const Conv& conv, const MmaPlan& plan) {
  const int64_t area = conv.out_size[1] * conv.out_size[2], planes = conv.last - conv.first;
  const int64_t partials_a_plane = mma_partials(conv);
  SAT_CHECK(area <= kMostVoxels, "conv3d_mma_sum: planes of ", area, " voxels");
  with_element(conv.dtype, [&](auto element) {
    using Out = decltype(element);
    launch(stream,
           {"conv3d_mma_sum", dim3(unsigned(planes), unsigned(divide_up(conv.out, kChannels))), dim3(kChannels, kRows)},
           conv3d_mma_sum_kernel<Out>, static_cast<Out*>(conv.values) + conv.first * area * conv.out,
           conv.partials + conv.first * partials_a_plane * conv.out, static_cast<const float*>(conv.workspace),
           plan.splits, planes, int(area), conv.out, partials_a_plane);
  });
}

}  // namespace sat::cuda
