// What loading any model is told: the file, what may be taken for it, and where it is going to compute.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "sat/tensor/context.h"

namespace sat {

struct LoadOptions {
  std::string model;          // .safetensors, .pth, .pt or .bin
  int threads = 0;            // that load it; 0: as many processors as this process may use
  int64_t max_ram = 0;        // bytes the whole process may hold while it loads; 0: no limit
  int64_t machine_bytes = 0;  // that the process can have at all; 0: unknown. Bounds loading where max_ram does not
  CpuLevel cpu = best_cpu_level();
  Precision precision = Precision::exact;
  DeviceHandle device;              // cuda::open_device(); null: everything on the CPU
  std::function<bool()> cancelled;  // asked often while it loads; true: throws Cancelled
};

}  // namespace sat
