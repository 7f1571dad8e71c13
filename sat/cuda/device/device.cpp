// Listing and opening devices.
#include "sat/cuda/device/device.h"

#include <algorithm>

#include "sat/cuda/backend.h"
#include "sat/cuda/conv3d/composed/conv3d_composed.h"

namespace sat::cuda {

namespace {

constexpr int kOldest = 80;                           // tensor cores with bf16, asynchronous copies
constexpr int64_t kLeftToDriver = int64_t(64) << 20;  // of free memory, never asked for

int attribute(cudaDeviceAttr which, int device) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, which, device), "reading a device's attributes");
  return value;
}

/// The device that is asked for; throws Error where there is none that will do.
DeviceInfo chosen_device(const DeviceOptions& options) {
  const std::vector<DeviceInfo> found = devices();
  SAT_CHECK(!found.empty(), "no CUDA device was found; is a driver loaded? The CPU is always there");
  SAT_CHECK(options.index >= 0 && size_t(options.index) < found.size(), "there is no device cuda:", options.index,
            "; this machine has ", found.size());
  const DeviceInfo& info = found[size_t(options.index)];
  SAT_CHECK(info.arch >= kOldest, "cuda:", info.index, " (", info.name, ") is of compute capability ", info.arch / 10,
            ".", info.arch % 10, "; at least ", kOldest / 10, ".", kOldest % 10, " is needed");
  SAT_CHECK(options.half == DType::f16 || options.half == DType::bf16, "half precision is f16 or bf16, not ",
            name_of(options.half));
  return info;
}

DeviceLimits limits_of(const DeviceInfo& info) { return {info.arch, info.processors, info.shared_bytes, true}; }

/// Of a device that will compute. Where no variant above mma is asked for, wgmma is not even tried.
DeviceLimits tested_limits(const DeviceInfo& info, const DeviceOptions& options) {
  DeviceLimits limits = limits_of(info);
  const ConvVariant most = parse_conv_variant(options.conv);
  const bool may_be_taken = most == ConvVariant::automatic || most >= ConvVariant::wgmma;
  if (may_be_taken) limits.wgmma_right = wgmma_is_right(info.index, limits);
  return limits;
}

DType held_as(const DeviceOptions& options, Precision precision) {
  return precision == Precision::exact ? DType::f32 : options.half;
}

}  // namespace

std::vector<std::string> remarks(const DeviceOptions& options) {
  const DeviceInfo info = chosen_device(options);
  std::vector<std::string> said;
  const std::string device = "cuda:" + std::to_string(info.index) + " (" + info.name + "): ";
  const std::string code = remark_on_code(info.arch, SAT_CUDA_CODE);
  if (!code.empty()) said.push_back(device + code);
  if (!tested_limits(info, options).wgmma_right) {
    said.push_back(device + "wgmma gave other sums than mma in its self-test, so mma takes its place");
  }
  return said;
}

bool built() { return true; }

std::vector<DeviceInfo> devices() {
  std::vector<DeviceInfo> found;
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    (void)cudaGetLastError();  // no driver, or no device: an empty list
    return found;
  }
  for (int index = 0; index < count; ++index) {
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, index), "reading a device's properties");
    DeviceInfo info;
    info.index = index;
    info.name = properties.name;
    info.arch = 10 * properties.major + properties.minor;
    info.processors = properties.multiProcessorCount;
    info.shared_bytes = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, index);
    info.bytes = int64_t(properties.totalGlobalMem);
    found.push_back(std::move(info));
  }
  return found;
}

DeviceHandle open_device(const DeviceOptions& options) {
  const DeviceInfo info = chosen_device(options);
  DeviceOptions capped = options;
  if (options.max_bytes == 0) {
    size_t free_bytes = 0, all_bytes = 0;
    check(cudaSetDevice(info.index), "choosing a device");
    check(cudaMemGetInfo(&free_bytes, &all_bytes), "asking a device for its free memory");
    capped.max_bytes = std::max<int64_t>(1, int64_t(free_bytes) - kLeftToDriver);
  }
  return std::make_shared<CudaBackend>(capped, info, tested_limits(info, options), false);
}

DeviceHandle virtual_device(const DeviceOptions& options) {
  DeviceInfo info;
  info.index = options.index;
  info.name = "virtual H100";
  info.arch = 90;
  info.processors = 132;
  info.bytes = int64_t(80) << 30;
  info.shared_bytes = 227 << 10;
  for (const DeviceInfo& real : devices()) {
    if (real.index == options.index) info = real;
  }
  DeviceOptions capped = options;
  if (options.max_bytes == 0) capped.max_bytes = info.bytes - kLeftToDriver;
  return std::make_shared<CudaBackend>(capped, info, limits_of(info), true);
}

std::string conv_refusal(const DeviceOptions& options, Precision precision, const ConvSizes& sizes) {
  const DeviceInfo info = chosen_device(options);
  check(cudaSetDevice(info.index), "choosing a device");  // which cuDNN asks
  Conv conv;
  conv.in_size = sizes.size;
  for (size_t axis = 0; axis < 3; ++axis) conv.out_size[axis] = divide_up(sizes.size[axis], sizes.stride);
  conv.stride = sizes.stride;
  for (size_t i = 0; i < 2; ++i) {
    conv.inputs[i].dtype = held_as(options, precision);
    conv.inputs[i].channels = i == 0 ? sizes.in : sizes.joined;
  }
  if (sizes.joined > 0) conv.inputs[0].ring = 1;  // the first of two is made while it is read, a few planes at a time
  conv.dtype = held_as(options, precision);
  conv.out = sizes.out;
  conv.last = conv.out_size[0];
  const ConvVariant variant = parse_conv_variant(options.conv);
  if (variant == ConvVariant::composed && sizes.joined > 0) {
    ComposedConv composed;
    composed.low = conv.inputs[0];
    composed.skip = conv.inputs[1];
    composed.out = sizes.out;
    return conv3d_composed_refusal(composed, limits_of(info));
  }
  return conv3d_refusal(variant, conv, tested_limits(info, options));
}

std::string attention_refusal(const DeviceOptions& options, Precision precision, int64_t tokens, int64_t channels,
                              int64_t heads) {
  const DeviceInfo info = chosen_device(options);
  Attention sizes{};
  sizes.queries = 1;
  sizes.tokens = tokens;
  sizes.channels = channels;
  sizes.heads = heads;
  sizes.products = held_as(options, precision);
  return attention_refusal(parse_attention_variant(options.attention), sizes, limits_of(info));
}

}  // namespace sat::cuda
