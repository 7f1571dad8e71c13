// What device tests share: arrays that live on the device, and a stream of the current one.
#pragma once

#include <cuda_runtime.h>

#include <vector>

#include "sat/cuda/device/stream.h"
#include "sat/tensor/tensor.h"

namespace sat::test {

/// The current device's default stream, waiting after each launch.
inline cuda::Stream device_stream() {
  cuda::Stream stream;
  int device = 0, major = 0, minor = 0, shared = 0;
  cuda::check(cudaGetDevice(&device), "cudaGetDevice");
  cuda::check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "attribute");
  cuda::check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device), "attribute");
  cuda::check(cudaDeviceGetAttribute(&stream.limits.processors, cudaDevAttrMultiProcessorCount, device), "attribute");
  cuda::check(cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "attribute");
  stream.limits.arch = 10 * major + minor;
  stream.limits.shared_bytes = shared;
  stream.check_each = true;
  return stream;
}

/// `count` elements on the device, exactly as large as they are asked for, so that an access beyond them is seen.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t count) : count_(count) {
    cuda::check(cudaMalloc(&data_, std::max<size_t>(1, count * sizeof(T))), "cudaMalloc");
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    cuda::check(cudaMemcpy(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy");
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() const { return static_cast<T*>(data_); }
  std::vector<T> values() const {
    std::vector<T> host(count_);
    cuda::check(cudaMemcpy(host.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost), "cudaMemcpy");
    return host;
  }

 private:
  size_t count_;
  void* data_ = nullptr;
};

}  // namespace sat::test
