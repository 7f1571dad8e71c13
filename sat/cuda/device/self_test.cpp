// Whether wgmma multiplies right on a device: tiles of whole numbers by it and by mma, which have to agree to the bit.
#include <cstring>
#include <map>
#include <memory>
#include <mutex>

#include "sat/cuda/kernels.h"

namespace sat::cuda {

namespace {

/// Bytes on the device while they are needed.
class Block {
 public:
  explicit Block(int64_t bytes) : bytes_(size_t(bytes)) {
    check(cudaMalloc(&data_, std::max<size_t>(bytes_, 1)), "taking memory for wgmma's self-test");
    check(cudaMemset(data_, 0xFF, bytes_), "wgmma's self-test");
  }
  ~Block() { (void)cudaFree(data_); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  void* data() const { return data_; }
  void fill(const std::vector<uint16_t>& values) const {
    check(cudaMemcpy(data_, values.data(), bytes_, cudaMemcpyHostToDevice), "wgmma's self-test");
  }
  std::vector<char> bytes() const {
    std::vector<char> here(bytes_);
    check(cudaMemcpy(here.data(), data_, bytes_, cudaMemcpyDeviceToHost), "wgmma's self-test");
    return here;
  }

 private:
  size_t bytes_;
  void* data_ = nullptr;
};

/// f16 numbers from -2 to 2 that repeat after no power of two: their sums are exact in f32 in any order.
std::vector<uint16_t> whole_numbers(int64_t count, int64_t seed) {
  std::vector<uint16_t> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) values[size_t(i)] = to_f16(float((i * i * 7 + i * 3 + seed) % 11 % 5 - 2)).bits;
  return values;
}

bool agrees_with_mma(const Stream& stream, ConvKernel kernel, int64_t channels, int64_t depth) {
  Conv conv;
  conv.in_size = conv.out_size = {2, 16, depth};
  conv.inputs[0].dtype = DType::f16;
  conv.inputs[0].channels = conv.out = channels;
  conv.dtype = DType::f32;
  conv.last = conv.in_size[0];
  const int64_t voxels = 2 * 16 * depth;
  const Block x(2 * voxels * channels), weights(2 * 27 * channels * channels);
  x.fill(whole_numbers(voxels * channels, 1));
  weights.fill(whole_numbers(27 * channels * channels, 4));
  conv.inputs[0].values = x.data();
  conv.weights = weights.data();
  std::vector<char> found[2];
  for (const ConvVariant variant : {ConvVariant::mma, ConvVariant::wgmma}) {
    const bool tested = variant == ConvVariant::wgmma;
    const Block values(4 * voxels * channels);
    const Block partials(conv.out_size[0] * conv3d_partials(variant, conv) * channels *
                         int64_t(sizeof(PartialMoments)));
    const Block workspace(conv3d_workspace(variant, conv, stream.limits));
    check(cudaDeviceSynchronize(), "wgmma's self-test");  // a stream of its own does not wait for fills
    conv.values = values.data();
    conv.partials = static_cast<PartialMoments*>(partials.data());
    conv.workspace = workspace.data();
    (tested ? kernel : conv3d_mma)(stream, conv);
    check(cudaStreamSynchronize(stream.handle), "wgmma's self-test");
    found[tested] = values.bytes();
  }
  return found[0] == found[1];
}

}  // namespace

bool agrees_with_mma(const Stream& stream, ConvKernel kernel) {
  return agrees_with_mma(stream, kernel, 64, 16) && agrees_with_mma(stream, kernel, 128, 8);
}

bool wgmma_is_right(int device, const DeviceLimits& limits) {
  if (limits.arch / 10 != 9) return true;  // it is never taken
  // A property of the machine, asked once a process.
  static std::mutex mutex;
  static std::map<int, bool> known;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = known.find(device);
  if (found != known.end()) return found->second;
  check(cudaSetDevice(device), "choosing a device");
  Stream stream;
  stream.limits = limits;
  return known[device] = agrees_with_mma(stream, conv3d_wgmma);
}

}  // namespace sat::cuda
