// A context that computes on a device, current while it lives.
#pragma once

#include "sat/cuda/device/device.h"
#include "sat/tensor/context.h"

namespace sat::test {

class DeviceContext {
 public:
  explicit DeviceContext(Precision precision, const cuda::DeviceOptions& options = {})
      : context_(context_options(precision, options)), use_(context_) {}

  Context& context() { return context_; }

 private:
  static ContextOptions context_options(Precision precision, const cuda::DeviceOptions& options) {
    ContextOptions of_context;
    of_context.precision = precision;
    of_context.device = cuda::open_device(options);
    return of_context;
  }

  Context context_;
  UseContext use_;
};

}  // namespace sat::test
