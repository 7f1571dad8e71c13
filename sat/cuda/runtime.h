// Private: a CUDA device as a runtime: its memory, the stream that work is queued on, captured work, and uploads beside
// it.
#pragma once

#include <cublas_v2.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sat/cuda/device/device.h"
#include "sat/cuda/device/stream.h"
#include "sat/tensor/device/runtime.h"
#include "sat/tensor/memory/block_allocator.h"

namespace sat::cuda {

/// What is made once for a device and given back with it.
class Handles {
 public:
  explicit Handles(int index);
  ~Handles();
  Handles(const Handles&) = delete;
  Handles& operator=(const Handles&) = delete;

  cudaStream_t work = nullptr, uploads = nullptr;
  cudaEvent_t uploaded = nullptr, taken = nullptr;
  int* error_flag = nullptr;  // one word that kernels set when a result is not finite

  /// Opened when it is first asked for: who only holds a model's weights needs none.
  cublasHandle_t blas();

 private:
  cublasHandle_t blas_ = nullptr;
  void* workspace_ = nullptr;  // cuBLAS's, fixed so that its choice of kernels is
};

class CudaRuntime : public Runtime {
 public:
  /// options.max_bytes is the cap, not 0. `dry`: counts memory, touches no device.
  CudaRuntime(const DeviceOptions& options, const DeviceInfo& info, const DeviceLimits& limits, bool dry);
  ~CudaRuntime() override;

  Device device() const override { return {Device::cuda, index_}; }
  const std::string& name() const override { return name_; }
  std::shared_ptr<Memory> memory() const override { return memory_; }
  std::shared_ptr<BlockAllocator> planned_memory() const override { return memory_; }
  int64_t fixed_bytes() const override;

  void upload(void* to, const void* host, int64_t bytes) override;
  void download(void* host, const void* from, int64_t bytes) override;
  void copy(void* to, const void* from, int64_t bytes) override;
  void zero(void* to, int64_t bytes) override;
  void copy_runs(void* to, int64_t to_pitch, const void* from, int64_t from_pitch, int64_t run, int64_t count) override;
  void zero_runs(void* to, int64_t pitch, int64_t run, int64_t count) override;
  void synchronize() override;

  bool captures() const override { return true; }
  void begin_capture() override;
  std::unique_ptr<Graph> end_capture() override;
  void launch(const Graph& graph) override;
  std::shared_ptr<void> keep_lists() override;

  Tensor staging(const Shape& shape) override;
  void start_upload(Tensor& to, const Tensor& staged) override;
  void take_upload(Tensor& to, const Tensor& from) override;
  void wait_for_upload() override;

  // ---- for the ops of CudaBackend ----
  const DeviceLimits& limits() const { return stream_.limits; }
  bool dry() const { return stream_.dry; }
  /// The stream on which ops queue their kernels; its device is made current on this thread.
  const Stream& stream() const;
  cublasHandle_t blas() { return handles_->blas(); }  // not in a dry run
  int* error_flag() const { return handles_ ? handles_->error_flag : nullptr; }
  /// A list of the CPU's as a tensor of rank 1 on the device; one that was kept, where an equal one was (keep_lists()).
  /// Otherwise it waits, and may not stand in captured work.
  template <class T>
  Tensor uploaded(const std::vector<T>& list) {
    return uploaded(list.data(), static_cast<int64_t>(list.size()), DTypeOf<T>::value);
  }

 private:
  using KeptLists = std::map<std::pair<DType, std::string>, Tensor>;  // by type and bytes

  Tensor uploaded(const void* list, int64_t count, DType type);
  void report_error_flag();

  int index_;
  std::string name_;
  Stream stream_;
  std::shared_ptr<BlockAllocator> memory_;
  std::unique_ptr<Handles> handles_;  // none in a dry run
  std::weak_ptr<KeptLists> kept_;
};

}  // namespace sat::cuda
