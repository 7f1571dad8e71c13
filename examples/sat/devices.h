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
  std::string conv = "automatic";  // a rung of the ladder of convolutions, cuda::DeviceOptions
};

/// Null for the CPU, else one accelerator a device. Throws UsageError for names that are unknown or said twice.
std::vector<DeviceHandle> open_devices(const DeviceChoice& choice);

/// What should be known of the devices before they work, a sentence each; mostly nothing.
std::vector<std::string> remarks_on(const DeviceChoice& choice);

/// What to open of the only device; none for the CPU. Throws UsageError for a name that is unknown, or several.
std::optional<cuda::DeviceOptions> only_device(const DeviceChoice& choice);

/// For plans: the first of them, counting memory only; a device that is not there is imagined as an H100.
DeviceHandle virtual_device(const DeviceChoice& choice);

}  // namespace sat::cli
