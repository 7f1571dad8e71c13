// Private: the transposed convolution of kernel 2 and stride 2 on the CPU: each voxel becomes 2 x 2 x 2, whose numbers
// are one row of a matrix product.
#pragma once

#include <functional>

#include "sat/tensor/cpu/conv/feature_reader.h"
#include "sat/tensor/ops/slab_walk.h"

namespace sat::cpu {

struct AmxLoops;  // amx/matrix_piece.h

struct UpSampling {
  int64_t W, D;                // of the volume below
  const PackedMatrix* weight;  // outputs in the order (a, b, c, out); bf16 panels are for tiles
  const float* bias;           // null for none
  void* const* planes;         // of the result: row h gives planes[2h] and planes[2h + 1], [2W, 2D, out] each
  DType dtype;                 // f32 or f16
  bool around_cache;           // nobody reads the result soon
};

/// Final values [count, in] of the voxels from `first` on; `room` is as large.
using ReadVoxels = std::function<const float*(float* room, int64_t first, int64_t count)>;

/// Rows [first, last) of the volume below. A voxel's results do not depend on the other voxels. `tiles` are looked at
/// where the weight was packed for them.
void up_sample(const UpSampling& job, const ReadVoxels& read, int64_t first, int64_t last, const AmxLoops* tiles);

/// The kernel [in, out, 2, 2, 2] for matrix units (AMX): operands rounded to bf16. `out` must divide by 32.
bool up_sampling_on_tiles(int64_t out);
PackedMatrix pack_up_sampling(const Tensor& weight);

/// The planes of an up-sampled sample that some slab reads, made when it is near.
class UpSampledPlanes {
 public:
  UpSampledPlanes(const Features& low, const UpBlockWeight& weight, int64_t sample, int64_t slab,
                  const AmxLoops* tiles);

  /// Makes sure of planes [first, last), and returns where each lies.
  const void* const* planes(int64_t first, int64_t last);
  DType dtype() const { return planes_.dtype; }

 private:
  const UpBlockWeight& weight_;
  const AmxLoops* tiles_;
  FeatureReader reader_;
  UpRing ring_;
  int64_t W_, D_;  // of the volume below
  Tensor planes_;
  std::vector<void*> pointers_;
};

}  // namespace sat::cpu
