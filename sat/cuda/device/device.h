// CUDA devices: what the machine has, and opening one for a context to compute on.
// In a build without CUDA the list is empty and opening fails with a message that says so.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sat/tensor/context.h"

namespace sat::cuda {

/// One device of the machine.
struct DeviceInfo {
  int index = 0;
  std::string name;          // "NVIDIA H100 80GB HBM3"
  int arch = 0;              // 10 * major + minor
  int processors = 0;        // multiprocessors
  int64_t bytes = 0;         // of memory, used or not
  int64_t shared_bytes = 0;  // most shared memory of a block
};

/// False in a build without CUDA.
bool built();
/// Devices that the driver shows; none where there is no driver.
std::vector<DeviceInfo> devices();

struct DeviceOptions {
  int index = 0;
  int64_t max_bytes = 0;    // cap on device memory; 0: what is free when it is opened
  DType half = DType::f16;  // how `fast` precision holds features and weights: f16 or bf16
  /// The fastest variant that may be taken: plain, tiled, mma, composed, wgmma, cudnn, from slow to fast. What it
  /// cannot compute, the next slower one that can does. Automatic takes wgmma on sm_90, unless its self-test fails
  /// there; `composed` is automatic without it.
  std::string conv = "automatic";
  std::string attention = "automatic";  // plain, fused
  bool check_each = false;              // wait after each kernel, so that an error names its kernel
};

/// Opens a device; give it to ContextOptions::device. Throws Error for an index that is not there, a device that
/// is too old (before sm_80), or a name that is not known.
DeviceHandle open_device(const DeviceOptions& options = {});

/// What should be known of a device before it is used, a sentence each, mostly none: that this build has no machine
/// code for it, or that its wgmma failed the self-test. Throws Error as open_device() does.
std::vector<std::string> remarks(const DeviceOptions& options);
/// "" or why code for these architectures ("80 90a", as CMake names them) will start slowly on a device, and as what.
std::string remark_on_code(int arch, const std::string& architectures);

/// One that counts memory and computes nothing: of the device with that index, or where that is not there, of a virtual
/// H100. For plans. Throws Error in a build without CUDA.
DeviceHandle virtual_device(const DeviceOptions& options = {});

/// A 3x3x3 convolution with padding 1, as conv3d_norm and, where a second input is joined, conv3d_norm_up have it.
struct ConvSizes {
  std::array<int64_t, 3> size{};        // voxels of the input
  int64_t in = 0, joined = 0, out = 0;  // channels; `joined`: of the second input, 0 for none
  int64_t stride = 1;
};

/// "" or why the variant `options.conv` cannot compute a convolution on that device at a precision: channels, an
/// architecture, a library that is not there. Throws Error as open_device() does.
std::string conv_refusal(const DeviceOptions& options, Precision precision, const ConvSizes& sizes);
/// The same of `options.attention`; `channels` of all heads together.
std::string attention_refusal(const DeviceOptions& options, Precision precision, int64_t tokens, int64_t channels,
                              int64_t heads);

/// "cpu": -1; "cuda": 0; "cuda:2": 2; "auto": 0 where a device is there, else -1. Throws Error for anything else.
int parse_device(const std::string& name);

}  // namespace sat::cuda
