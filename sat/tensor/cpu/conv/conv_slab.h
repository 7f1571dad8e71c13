// Private: what the engines of a 3x3x3 convolution are given: some output planes, and where every plane lies.
// An engine (Winograd, AMX) reads raw values, takes the pending norm while it loads them, convolves, stores raw values
// and counts their statistics. It knows neither tensors nor the order in which slabs are asked for.
#pragma once

#include <array>
#include <cstdint>

#include "sat/tensor/cpu/moments.h"
#include "sat/tensor/ops/pending_norm.h"
#include "sat/tensor/tensor.h"

namespace sat::cpu {

constexpr int64_t kSlabPlanes = 12;         // of a result that is written over its input; whole tiles of every method
constexpr int64_t kAroundCache = 64 << 20;  // bytes of a result from which on nobody finds it in a cache

/// One input: planes[h] is [W, D, channels] of type f32 or f16. Only planes that the slab needs have to be there.
struct SlabInput {
  const void* const* planes = nullptr;
  DType dtype = DType::f32;
  int64_t channels = 0;
  PendingNorm norm;
  int64_t pitch = 0;  // from one voxel to the next, where `channels` are not all of its own; else 0
};

/// Planes [first, last) of a convolution's output, padding 1. Two inputs stand for their concatenation.
struct ConvSlab {
  std::array<int64_t, 3> in_size{}, out_size{};  // H, W, D of the whole volumes
  int64_t stride = 1;
  std::array<SlabInput, 2> inputs;  // the second has no channels where there is one input
  void* const* planes = nullptr;    // the output's: planes[h] is [W', D', out]
  DType dtype = DType::f32;         // f32 or f16
  bool add = false;                 // to the f32 values that are there (Winograd alone)
  int64_t out = 0;
  int64_t first = 0, last = 0;
  /// [ceil(H' / kSlabPlanes), out], of the raw results: each plane's are merged, in a fixed order, into those of the
  /// kSlabPlanes planes that it belongs to. `first` is a multiple of kSlabPlanes.
  Moments* statistics = nullptr;
};

}  // namespace sat::cpu
