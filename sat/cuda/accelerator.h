// Private: one CUDA device as the accelerator of a context. Bytes and matrices are in accelerator.cpp, convolutions in
// features.cpp, scores in blending.cpp, recording and uploads in recording.cpp.
#pragma once

#include <cublas_v2.h>

#include <memory>
#include <string>

#include "sat/cuda/device/device.h"
#include "sat/cuda/kernels.h"
#include "sat/tensor/accelerator.h"

namespace sat::cuda {

/// What is made once for a device and given back with it.
class Handles {
 public:
  Handles(int index, int64_t workspace_bytes);
  ~Handles();
  Handles(const Handles&) = delete;
  Handles& operator=(const Handles&) = delete;

  cudaStream_t work = nullptr, uploads = nullptr;
  cudaEvent_t uploaded = nullptr, taken = nullptr;
  cublasHandle_t blas = nullptr;
  void* workspace = nullptr;  // cuBLAS's, fixed so that its choice of kernels is
  int* trouble = nullptr;     // one word that kernels set when a result is not finite
};

class CudaAccelerator : public Accelerator {
 public:
  /// options.max_bytes is the cap, not 0. `dry`: counts memory, touches no device.
  CudaAccelerator(const DeviceOptions& options, const DeviceInfo& info, const DeviceLimits& limits, bool dry);
  ~CudaAccelerator() override;

  const DeviceLimits& limits() const { return queue_.limits; }
  const std::string& name() const override { return name_; }
  const std::shared_ptr<Arena>& memory() const override { return arena_; }
  std::shared_ptr<Accelerator> rehearsal() const override;
  DType feature_type(Precision precision) const override;
  int64_t fixed_bytes() const override;

  void upload(void* device, const void* host, int64_t bytes) override;
  void download(void* host, const void* device, int64_t bytes) override;
  void copy(void* to, const void* from, int64_t bytes) override;
  void zero(void* device, int64_t bytes) override;
  void copy_runs(void* to, int64_t to_pitch, const void* from, int64_t from_pitch, int64_t run, int64_t count) override;
  void zero_runs(void* to, int64_t pitch, int64_t run, int64_t count) override;
  void finish() override;

  void begin_recording() override;
  std::unique_ptr<Recording> end_recording() override;
  void replay(const Recording& recording) override;
  Tensor staging(const Shape& shape) override;
  void start_upload(const Tensor& device, const Tensor& staged) override;
  void take_upload(const Tensor& to, const Tensor& device) override;
  void wait_for_upload() override;

  PackedMatrix pack_linear(const Tensor& weight) override;
  void linear(const Tensor& y, const Tensor& x, const PackedMatrix& weight, const Tensor& bias,
              Activation act) override;
  void attention(const Tensor& y, const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads,
                 const Tensor& bias) override;
  void gather_rows(const Tensor& y, const Tensor& table, const Tensor& ids) override;
  void add(const Tensor& y, const Tensor& a, const Tensor& b) override;
  void layer_norm(const Tensor& y, const Tensor& x, const Tensor& gain, const Tensor& bias, float eps) override;

  Tensor pack_conv3d(const Tensor& weight, int64_t first_in, DType input) override;
  PackedMatrix pack_conv_transpose3d(const Tensor& weight) override;
  void compose_up(PackedConv3d& conv, const Tensor& weight, const Tensor& up, const Tensor& up_bias) override;
  Tensor finished(Features x) override;
  Features conv3d_norm(Features x, const PackedConv3d& weight, const NormWeights& norm, int64_t stride,
                       DType store) override;
  Features conv3d_norm_up(Features low, const PackedMatrix& up, const Tensor& up_bias, Features skip,
                          const PackedConv3d& weight, const NormWeights& norm, DType store) override;
  void avg_pool3d(const Tensor& y, const Features& x, int64_t k) override;

  void accumulate_mask_scores(const Tensor& scores, const Features& features, const PackedMatrix& masks,
                              const Tensor& importance, const ScoreRegion& region) override;
  void accumulate_importance(const Tensor& weights, const Tensor& importance, const ScoreRegion& region) override;
  void divide_rows(const Tensor& scores, const Tensor& weights, int axis, int64_t first, int64_t last) override;

 private:
  struct Job;        // one convolution of all samples: features.cpp
  void use() const;  // makes the device current on this thread
  void report_trouble();
  Features run(Job& job, const NormWeights& norm);
  bool is_composed(const Conv& conv, const Job& job) const;

  DeviceOptions options_;
  DeviceInfo info_;
  std::string name_;
  ConvVariant conv_;
  AttentionVariant attention_;
  Queue queue_;
  std::shared_ptr<Arena> arena_;
  std::unique_ptr<Handles> handles_;  // none in a rehearsal
};

}  // namespace sat::cuda
