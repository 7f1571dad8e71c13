// Private: reads voxels of Features (ops.h): widened to f32, with the pending norm taken.
#pragma once

#include "sat/tensor/cpu/conv/conv_slab.h"
#include "sat/tensor/ops.h"

namespace sat::cpu {

/// The pending norm of one sample.
PendingNorm pending_norm(const Features& x, int64_t sample = 0);

/// Final values of one sample's voxels, counted in the order of its grid. Made once an op; any thread may read.
class FeatureReader {
 public:
  explicit FeatureReader(const Features& x, int64_t sample = 0);
  int64_t channels() const { return channels_; }
  /// to [count, channels] = the voxels from `voxel` on.
  void read(float* to, int64_t voxel, int64_t count) const;

 private:
  bool vector_;                  // the form of the loops
  const float* wide_ = nullptr;  // one of the two
  const f16* half_ = nullptr;
  int64_t channels_;
  PendingNorm norm_;
};

}  // namespace sat::cpu
