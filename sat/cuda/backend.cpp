// What a CUDA backend is made of, and others of its kind.
#include "sat/cuda/backend.h"

namespace sat::cuda {

CudaBackend::CudaBackend(const DeviceOptions& options, const DeviceInfo& info, const DeviceLimits& limits, bool dry)
    : options_(options),
      info_(info),
      conv_(parse_conv_variant(options.conv)),
      attention_(parse_attention_variant(options.attention)),
      runtime_(options, info, limits, dry) {}

bool CudaBackend::holds(DType features) const {
  return features == DType::f32 || features == DType::f16 || features == DType::bf16;
}

DeviceHandle CudaBackend::dry_run(int64_t max_bytes) const { return made(max_bytes, true); }

DeviceHandle CudaBackend::another(int64_t max_bytes) const { return made(max_bytes, runtime_.dry()); }

DeviceHandle CudaBackend::made(int64_t max_bytes, bool dry) const {
  DeviceOptions options = options_;
  if (max_bytes != 0) options.max_bytes = max_bytes + runtime_.fixed_bytes();
  return std::make_shared<CudaBackend>(options, info_, limits(), dry);
}

DType CudaBackend::feature_type() const {
  return Context::current().precision() == Precision::exact ? DType::f32 : options_.half;
}

DType CudaBackend::gradient_type() const {
  return Context::current().precision() == Precision::exact ? DType::f32 : DType::bf16;
}

}  // namespace sat::cuda
