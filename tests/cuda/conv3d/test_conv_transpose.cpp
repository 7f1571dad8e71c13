// conv_transpose3d on the device against the definition in double.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <sstream>

#include "sat/cuda/kernels.h"
#include "tests/cuda/device_array.h"
#include "tests/support/golden.h"

using namespace sat;
using namespace sat::test;

namespace {

struct Case {
  std::array<int64_t, 3> size{};
  int64_t in = 0, out = 0;
  DType dtype = DType::f32;
  bool norm = true, bias = true;
  int64_t first = 0, last = -1, ring = 0;
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << "[" << c.size[0] << ", " << c.size[1] << ", " << c.size[2] << "] " << c.in << " -> " << c.out << ", "
             << c.dtype << ", planes " << c.first << " to " << c.last << ", ring of " << c.ring;
}

std::vector<float> random(const std::string& name, int64_t count, double scale, double offset = 0) {
  const Tensor values = field(name, {count}, scale, offset);
  return {values.data<float>(), values.data<float>() + count};
}

float rounded(float value, DType dtype) {
  if (dtype == DType::f16) return to_float(to_f16(value));
  return dtype == DType::bf16 ? to_float(to_bf16(value)) : value;
}

std::vector<uint8_t> encoded(const std::vector<float>& values, DType dtype) {
  const size_t size = size_t(size_of(dtype));
  std::vector<uint8_t> bytes(values.size() * size);
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t half = dtype == DType::f16 ? to_f16(values[i]).bits : to_bf16(values[i]).bits;
    std::memcpy(&bytes[size * i], dtype == DType::f32 ? static_cast<const void*>(&values[i]) : &half, size);
  }
  return bytes;
}

float decoded(const std::vector<uint8_t>& bytes, DType dtype, size_t at) {
  float value = 0;
  uint16_t half = 0;
  if (dtype == DType::f32) std::memcpy(&value, &bytes[4 * at], 4);
  if (dtype != DType::f32) std::memcpy(&half, &bytes[2 * at], 2);
  if (dtype == DType::f16) return to_float(f16{half});
  return dtype == DType::bf16 ? to_float(bf16{half}) : value;
}

/// "" or one line: a value beyond the tolerance, or a plane that should not have been written.
std::string difference(const Case& c) {
  const auto [H, W, D] = c.size;
  const int64_t last = c.last < 0 ? H : c.last, columns = 8 * c.out;
  std::vector<float> x = random("x", H * W * D * c.in, 1), w = random("w", c.in * columns, 2 / std::sqrt(double(c.in)));
  for (float& value : x) value = rounded(value, c.dtype);
  for (float& value : w) value = rounded(value, c.dtype);
  const std::vector<float> center = random("center", c.in, 0.2), factor = random("factor", c.in, 0.5, 1);
  const std::vector<float> shift = random("shift", c.in, 0.5), bias = random("bias", c.out, 0.5);

  std::vector<float> packed = w;  // f32: [in][8 * out]; half: [8 * out][pad16(in)]
  if (c.dtype != DType::f32) {
    packed.assign(size_t(columns * cuda::pad16(c.in)), 0.f);
    for (int64_t i = 0; i < c.in; ++i) {
      for (int64_t j = 0; j < columns; ++j) packed[size_t(j * cuda::pad16(c.in) + i)] = w[size_t(i * columns + j)];
    }
  }
  const int64_t held = c.ring > 0 ? c.ring : 2 * H, y_plane = 4 * W * D * c.out;
  const DeviceArray<uint8_t> device_x(encoded(x, c.dtype)), device_w(encoded(packed, c.dtype));
  const DeviceArray<uint8_t> device_y(std::vector<uint8_t>(size_t(held * y_plane * size_of(c.dtype)), 0xa5));
  const DeviceArray<float> device_center(center), device_factor(factor), device_shift(shift), device_bias(bias);
  cuda::ConvTranspose conv;
  conv.in_size = c.size;
  conv.input = {device_x.data(), c.dtype, c.in, 0, {}};
  if (c.norm) conv.input.norm = {device_center.data(), device_factor.data(), device_shift.data(), 0.01f};
  conv.weights = device_w.data();
  conv.bias = c.bias ? device_bias.data() : nullptr;
  conv.values = device_y.data();
  conv.out = c.out;
  conv.ring = c.ring;
  conv.first = c.first;
  conv.last = last;
  cuda::conv_transpose3d(device_stream(), conv);

  if (c.norm) {
    for (size_t at = 0; at < x.size(); ++at) {
      const size_t i = at % size_t(c.in);
      const double y = (double(x[at]) - double(center[i])) * double(factor[i]) + double(shift[i]);
      x[at] = rounded(float(y < 0 ? double(0.01f) * y : y), c.dtype);
    }
  }
  const double last_place = c.dtype == DType::f16 ? 1. / 2048 : c.dtype == DType::bf16 ? 1. / 256 : 0;
  const std::vector<uint8_t> got = device_y.values();
  std::vector<bool> written(size_t(held * y_plane));
  for (int64_t voxel = c.first * W * D; voxel < last * W * D; ++voxel) {
    for (int64_t j = 0; j < columns; ++j) {
      const int64_t tap = j / c.out, yh = 2 * (voxel / D / W) + tap / 4, yw = 2 * (voxel / D % W) + tap / 2 % 2;
      const int64_t yd = 2 * (voxel % D) + tap % 2;
      double want = c.bias ? double(bias[size_t(j % c.out)]) : 0;
      for (int64_t i = 0; i < c.in; ++i)
        want += double(x[size_t(voxel * c.in + i)]) * double(w[size_t(i * columns + j)]);
      const size_t at = size_t((c.ring > 0 ? yh % c.ring : yh) * y_plane + (yw * 2 * D + yd) * c.out + j % c.out);
      written[at] = true;
      const double value = double(decoded(got, c.dtype, at));
      const double allowed = (c.dtype == DType::f32 ? 1e-5 : 2e-3) + last_place * std::abs(want);
      if (std::abs(value - want) <= allowed) continue;
      std::ostringstream line;
      line << "at [" << yh << ", " << yw << ", " << yd << ", " << j % c.out << "]: got " << value << ", want " << want;
      return line.str();
    }
  }
  for (size_t at = 0; at < got.size(); ++at) {
    const size_t element = at / size_t(size_of(c.dtype));
    if (!written[element] && got[at] != 0xa5) return "element " + std::to_string(element) + " was written";
  }
  return "";
}

}  // namespace

TEST_CASE("transposed convolution: awkward sizes agree with the definition in every type") {
  const Case cases[] = {
      {.size = {1, 1, 1}, .in = 8, .out = 24},    {.size = {2, 2, 1}, .in = 96, .out = 48},
      {.size = {2, 17, 15}, .in = 24, .out = 8},  {.size = {1, 3, 33}, .in = 1, .out = 3},
      {.size = {3, 31, 2}, .in = 3, .out = 1},    {.size = {1, 9, 15}, .in = 64, .out = 64},
      {.size = {1, 2, 31}, .in = 130, .out = 20},
  };
  for (Case c : cases) {
    for (DType dtype : {DType::f32, DType::f16, DType::bf16}) {
      c.dtype = dtype;
      CAPTURE(c);
      CHECK(difference(c) == "");
    }
  }
}

TEST_CASE("transposed convolution: without norm and bias, for a range of planes, into a ring") {
  for (DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    for (bool norm : {false, true}) {
      const Case c{.size = {7, 5, 6},
                   .in = 24,
                   .out = 24,
                   .dtype = dtype,
                   .norm = norm,
                   .bias = !norm,
                   .first = 2,
                   .last = 5,
                   .ring = norm ? 8 : 0};
      CAPTURE(c);
      CHECK(difference(c) == "");
    }
  }
}
