// Runs of device kernels on made-up data, for counting what they move and for holding the bits of their results
// against those of another run. Whether results are right is asked elsewhere (test_*.cpp).
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "sat/cuda/kernels.h"
#include "tests/cuda/device_array.h"

namespace sat::test {

/// Bytes on the device: `count` elements of a type, uniform in [-scale, scale) by a fixed generator.
using DeviceBytes = DeviceArray<uint8_t>;
std::shared_ptr<DeviceBytes> made_up(DType dtype, int64_t count, uint64_t seed, double scale = 1);

/// FNV-1a of everything that was added; bytes that no kernel wrote are part of it.
class Hash {
 public:
  void add(const DeviceBytes& bytes);
  void add(const void* bytes, int64_t count);  // on the host
  std::string text() const;                    // 16 hexadecimal digits

 private:
  uint64_t value_ = 0xcbf29ce484222325u;
};

/// What a convolution is run with; all planes at once.
struct ConvSetup {
  cuda::ConvVariant variant = cuda::ConvVariant::plain;
  DType dtype = DType::f16;
  std::array<int64_t, 3> size{};  // of the inputs
  int64_t in0 = 0, in1 = 0, out = 0, stride = 1;
  bool norm = true;  // the inputs have a pending norm
};

/// A convolution whose arrays lie on the device.
class ConvRun {
 public:
  ConvRun(const ConvSetup& setup, const cuda::Stream& stream);
  const cuda::Conv& conv() const { return conv_; }
  std::string refusal() const;  // "" where the variant can compute it
  void run() const;
  void add_to(Hash& hash) const;  // the result and its statistics

 private:
  cuda::Stream stream_;
  cuda::ConvVariant variant_;
  cuda::Conv conv_;
  std::vector<std::shared_ptr<DeviceBytes>> owned_;
  std::shared_ptr<DeviceBytes> values_, partials_;
};

/// A pending norm of inputs: center, factor and shift of some channels, kept alive by `owned`.
PendingNorm made_up_norm(int64_t channels, uint64_t seed, std::vector<std::shared_ptr<DeviceBytes>>& owned);

/// "NAME HASH" of every kernel of kernels.h and variant that this device can run, at small sizes; a variant that
/// refuses gives "NAME refused".
std::vector<std::string> all_bits(const cuda::Stream& stream);

/// The same of ops whose kernels are not among them.
std::vector<std::string> op_bits();

/// The same of what gradients are made of.
std::vector<std::string> gradient_bits();

/// The same of a whole small network in f32, f16 and bf16.
std::vector<std::string> network_bits();

}  // namespace sat::test
