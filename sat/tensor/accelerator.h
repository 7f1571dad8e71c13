// Private: what a device must be able to do for the words of ops.h. The ops check arguments and allocate results; an
// accelerator computes them, on tensors that lie in its memory. sat/cuda implements it; nothing here knows CUDA.
//
// Work is queued: a call returns before its result is there, later calls see it, and only download() and finish()
// wait. An accelerator belongs to one context and is used from one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sat/tensor/context.h"
#include "sat/tensor/memory/block_allocator.h"
#include "sat/tensor/ops.h"

namespace sat {

class Accelerator {
 public:
  virtual ~Accelerator() = default;

  virtual const std::string& name() const = 0;  // "cuda:0 (NVIDIA H100)"
  virtual const std::shared_ptr<Arena>& memory() const = 0;
  virtual int64_t fixed_bytes() const = 0;  // held beside the arena as long as the accelerator lives
  /// One of the same kind that counts memory and computes nothing.
  virtual std::shared_ptr<Accelerator> rehearsal() const = 0;
  /// How feature volumes and their weights are held at a precision: exact f32; fast f16 or bf16.
  virtual DType feature_type(Precision precision) const = 0;

  // ---- bytes ----
  virtual void upload(void* device, const void* host, int64_t bytes) = 0;
  virtual void download(void* host, const void* device, int64_t bytes) = 0;  // waits
  virtual void copy(void* to, const void* from, int64_t bytes) = 0;          // within the device
  virtual void zero(void* device, int64_t bytes) = 0;
  /// `count` runs of `run` bytes from every `from_pitch` bytes to every `to_pitch` bytes; the two must not overlap.
  virtual void copy_runs(void* to, int64_t to_pitch, const void* from, int64_t from_pitch, int64_t run,
                         int64_t count) = 0;
  /// Zeros in `count` runs of `run` bytes, one every `pitch` bytes.
  virtual void zero_runs(void* to, int64_t pitch, int64_t run, int64_t count) = 0;
  /// Waits for everything queued; throws Error for what went wrong in it, a result that is not finite included.
  virtual void finish() = 0;

  // ---- a loop's work, recorded once and replayed ----
  class Recording {
   public:
    virtual ~Recording() = default;
  };
  /// Between the two nothing runs; what is queued is kept, with the addresses that it works on.
  virtual void begin_recording() = 0;
  virtual std::unique_ptr<Recording> end_recording() = 0;
  virtual void replay(const Recording& recording) = 0;

  // ---- uploads beside the work ----
  /// f32 on the host, where the device can fetch it while it computes.
  virtual Tensor staging(const Shape& shape) = 0;
  /// Starts copying `staged` to `device` beside what is queued, once the last take_upload() from there is done.
  virtual void start_upload(const Tensor& device, const Tensor& staged) = 0;
  /// Queues: wait for the upload to `device`, copy it to `to`.
  virtual void take_upload(const Tensor& to, const Tensor& device) = 0;
  virtual void wait_for_upload() = 0;  // until `staged` may be written again

  // ---- matrices: f32 on the device; weights in the type of the precision ----
  virtual PackedMatrix pack_linear(const Tensor& weight) = 0;
  virtual void linear(const Tensor& y, const Tensor& x, const PackedMatrix& weight, const Tensor& bias,
                      Activation act) = 0;
  virtual void attention(const Tensor& y, const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads,
                         const Tensor& bias) = 0;
  virtual void gather_rows(const Tensor& y, const Tensor& table, const Tensor& ids) = 0;
  virtual void add(const Tensor& y, const Tensor& a, const Tensor& b) = 0;
  virtual void layer_norm(const Tensor& y, const Tensor& x, const Tensor& gain, const Tensor& bias, float eps) = 0;

  // ---- features ----
  /// Panels of PackedConv3d for inputs held as `input`; first_in = all where there is one input.
  virtual Tensor pack_conv3d(const Tensor& weight, int64_t first_in, DType input) = 0;
  virtual PackedMatrix pack_conv_transpose3d(const Tensor& weight) = 0;
  virtual void compose_up(PackedConv3d& conv, const Tensor& weight, const Tensor& up, const Tensor& up_bias) = 0;
  virtual Tensor finished(Features x) = 0;
  virtual Features conv3d_norm(Features x, const PackedConv3d& weight, const NormWeights& norm, int64_t stride,
                               DType store) = 0;
  virtual Features conv3d_norm_up(Features low, const PackedMatrix& up, const Tensor& up_bias, Features skip,
                                  const PackedConv3d& weight, const NormWeights& norm, DType store) = 0;
  virtual void avg_pool3d(const Tensor& y, const Features& x, int64_t k) = 0;

  // ---- scores ----
  virtual void accumulate_mask_scores(const Tensor& scores, const Features& features, const PackedMatrix& masks,
                                      const Tensor& importance, const ScoreRegion& region) = 0;
  /// weights[v] += importance[v] over a region.
  virtual void accumulate_importance(const Tensor& weights, const Tensor& importance, const ScoreRegion& region) = 0;
  /// scores [S0, S1, S2, N] /= weights [S0, S1, S2], for rows [first, last) along `axis`.
  virtual void divide_rows(const Tensor& scores, const Tensor& weights, int axis, int64_t first, int64_t last) = 0;
};

/// The current context's; throws Error where it has none.
Accelerator& accelerator();

}  // namespace sat
