// Runs of device kernels on made-up data.
#include "tests/cuda/counts/kernel_runs.h"

#include <cstdio>

namespace sat::test {

using namespace cuda;

namespace {

/// splitmix64: numbers that are the same on every machine.
uint64_t mixed(uint64_t value) {
  value += 0x9e3779b97f4a7c15u;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

double uniform(uint64_t seed, int64_t i) { return double(mixed(seed * 1000003 + uint64_t(i)) >> 11) * 0x1p-52 - 1; }

template <class T>
std::vector<uint8_t> bytes_of(const std::vector<T>& values) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(values.data());
  return {bytes, bytes + values.size() * sizeof(T)};
}

/// Weights of a half type are filled with zeros up to multiples of 16 channels; f32 ones are dense.
std::vector<uint8_t> weights_of(const ConvSetup& setup, double scale) {
  if (setup.dtype == DType::f32) {
    std::vector<float> weights(size_t(27 * (setup.in0 + setup.in1) * setup.out));
    for (size_t i = 0; i < weights.size(); ++i) weights[i] = float(scale * uniform(3, int64_t(i)));
    return bytes_of(weights);
  }
  const int64_t out = pad16(setup.out), in0 = pad16(setup.in0), in = in0 + pad16(setup.in1);
  std::vector<uint16_t> weights(size_t(27 * out * in), 0);
  for (int64_t i = 0; i < int64_t(weights.size()); ++i) {
    const int64_t channel = i % in, at = channel < in0 ? channel : channel - in0;
    if (at >= (channel < in0 ? setup.in0 : setup.in1) || i / in % out >= setup.out) continue;
    const auto value = float(scale * uniform(3, i));
    weights[size_t(i)] = setup.dtype == DType::f16 ? to_f16(value).bits : to_bf16(value).bits;
  }
  return bytes_of(weights);
}

}  // namespace

std::shared_ptr<DeviceBytes> made_up(DType dtype, int64_t count, uint64_t seed, double scale) {
  std::vector<float> wide(dtype == DType::f32 ? size_t(count) : 0);
  std::vector<uint16_t> half(dtype == DType::f32 ? 0 : size_t(count));
  for (int64_t i = 0; i < count; ++i) {
    const auto value = float(scale * uniform(seed, i));
    if (dtype == DType::f32) wide[size_t(i)] = value;
    if (dtype == DType::f16) half[size_t(i)] = to_f16(value).bits;
    if (dtype == DType::bf16) half[size_t(i)] = to_bf16(value).bits;
  }
  return std::make_shared<DeviceBytes>(dtype == DType::f32 ? bytes_of(wide) : bytes_of(half));
}

void Hash::add(const void* bytes, int64_t count) {
  const auto* byte = static_cast<const uint8_t*>(bytes);
  for (int64_t i = 0; i < count; ++i) value_ = (value_ ^ byte[i]) * 0x100000001b3u;
}

void Hash::add(const DeviceBytes& bytes) {
  const std::vector<uint8_t> here = bytes.values();
  add(here.data(), int64_t(here.size()));
}

std::string Hash::text() const {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value_));
  return text;
}

PendingNorm made_up_norm(int64_t channels, uint64_t seed, std::vector<std::shared_ptr<DeviceBytes>>& owned) {
  for (uint64_t part : {0, 1, 2}) owned.push_back(made_up(DType::f32, channels, seed + part));
  const auto at = [&](size_t part) { return reinterpret_cast<float*>(owned[owned.size() - 3 + part]->data()); };
  return {at(0), at(1), at(2), 0.01f};
}

ConvRun::ConvRun(const ConvSetup& setup, const Stream& stream) : stream_(stream), variant_(setup.variant) {
  const auto& size = conv_.in_size = setup.size;
  for (size_t axis : {0, 1, 2}) conv_.out_size[axis] = divide_up(size[axis], setup.stride);
  conv_.stride = setup.stride;
  conv_.dtype = setup.dtype;
  conv_.out = setup.out;
  conv_.last = conv_.out_size[0];
  const int64_t channels[] = {setup.in0, setup.in1};
  for (size_t i : {0, 1}) {
    ConvInput& input = conv_.inputs[i];
    input.dtype = setup.dtype;
    input.channels = channels[i];
    if (channels[i] == 0) continue;
    owned_.push_back(made_up(setup.dtype, size[0] * size[1] * size[2] * channels[i], 1 + i));
    input.values = owned_.back()->data();
    if (setup.norm) input.norm = made_up_norm(channels[i], 10 * (i + 1), owned_);
  }
  owned_.push_back(std::make_shared<DeviceBytes>(weights_of(setup, 0.05)));
  conv_.weights = owned_.back()->data();

  const int64_t voxels = conv_.out_size[0] * conv_.out_size[1] * conv_.out_size[2];
  values_ = std::make_shared<DeviceBytes>(size_t(voxels * setup.out * (setup.dtype == DType::f32 ? 4 : 2)));
  conv_.values = values_->data();
  if (!refusal().empty()) return;
  const int64_t partials = conv_.out_size[0] * conv3d_partials(variant_, conv_) * setup.out;
  partials_ = std::make_shared<DeviceBytes>(size_t(partials) * sizeof(PartialMoments));
  conv_.partials = reinterpret_cast<PartialMoments*>(partials_->data());
  owned_.push_back(std::make_shared<DeviceBytes>(size_t(conv3d_workspace(variant_, conv_, stream.limits))));
  conv_.workspace = owned_.back()->data();
}

std::string ConvRun::refusal() const { return conv3d_refusal(variant_, conv_, stream_.limits); }

void ConvRun::run() const { conv3d(stream_, variant_, conv_); }

void ConvRun::add_to(Hash& hash) const {
  hash.add(*values_);
  hash.add(*partials_);
}

}  // namespace sat::test
