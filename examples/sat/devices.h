// Where a run computes, as the command line says it: the CPU, one CUDA device, or several.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sat/cuda/device/device.h"

namespace sat::cli {

struct DeviceChoice {
  std::string names = "auto";      // cpu, cuda, cuda:1, auto, or several of them with commas
  int64_t max_vram = 0;            // bytes of each device; 0: what is free
  DType half = DType::f16;         // how fast precision holds features on a device
  std::string conv = "automatic";  // a variant of the convolution, cuda::DeviceOptions
};

/// One entry a name: null for the CPU, else the device, opened. Throws UsageError for names that are unknown or given
/// twice.
std::vector<DeviceHandle> open_devices(const DeviceChoice& choice);

/// What the user should know of the devices before they are used, a sentence each; mostly nothing.
std::vector<std::string> remarks_on(const DeviceChoice& choice);

/// How to open the only device; none for the CPU. Throws UsageError for a name that is unknown, or several.
std::optional<cuda::DeviceOptions> only_device(const DeviceChoice& choice);

/// For plans: the first of them, counting memory only; a device that is not there is imagined as an H100.
DeviceHandle virtual_device(const DeviceChoice& choice);

}  // namespace sat::cli
