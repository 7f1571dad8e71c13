// Private: count, mean and sum of squared deviations on the device. Values join one by one (Welford), parts by Chan's
// formula; neither takes a difference of large squares.
#pragma once

#include "sat/cuda/kernels.h"

namespace sat::cuda {

__device__ inline void join(PartialMoments& partial, float value) {
  partial.count += 1;
  const float apart = value - partial.mean;
  partial.mean += apart / partial.count;
  partial.m2 += apart * (value - partial.mean);
}

__device__ inline PartialMoments merged(const PartialMoments& a, const PartialMoments& b) {
  if (b.count == 0) return a;
  const float count = a.count + b.count, apart = b.mean - a.mean, share = b.count / count;
  return {count, a.mean + apart * share, a.m2 + b.m2 + apart * apart * a.count * share};
}

}  // namespace sat::cuda
