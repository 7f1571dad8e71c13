// The reference of a convolution: the definition in double, on the operands as the device holds them.
#include "tests/cuda/conv3d/conv_reference.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <sstream>

#include "tests/cuda/device_array.h"
#include "tests/support/golden.h"

namespace sat::test {

namespace {

constexpr uint8_t kUntouched = 0xa5;

float rounded(float value, DType dtype) {
  if (dtype == DType::f16) return to_float(to_f16(value));
  if (dtype == DType::bf16) return to_float(to_bf16(value));
  return value;
}

/// Half of the last place of a stored value of size `value`.
double rounding_of(double value, DType dtype) {
  if (dtype == DType::f16) return std::abs(value) / 2048 + 3e-8;
  if (dtype == DType::bf16) return std::abs(value) / 256;
  return 0;
}

/// `values` in the bytes of a type.
std::vector<uint8_t> encoded(const std::vector<float>& values, DType dtype) {
  std::vector<uint8_t> bytes(values.size() * size_t(size_of(dtype)));
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t half = dtype == DType::f16 ? to_f16(values[i]).bits : to_bf16(values[i]).bits;
    if (dtype == DType::f32) std::memcpy(&bytes[4 * i], &values[i], 4);
    if (dtype != DType::f32) std::memcpy(&bytes[2 * i], &half, 2);
  }
  return bytes;
}

float decoded(const uint8_t* bytes, DType dtype, int64_t at) {
  uint16_t half = 0;
  float value = 0;
  if (dtype == DType::f32) std::memcpy(&value, bytes + 4 * at, 4);
  if (dtype != DType::f32) std::memcpy(&half, bytes + 2 * at, 2);
  if (dtype == DType::f16) return to_float(f16{half});
  if (dtype == DType::bf16) return to_float(bf16{half});
  return value;
}

std::vector<float> random(const std::string& name, int64_t count, double scale, double offset = 0) {
  const Tensor values = field(name, {count}, scale, offset);
  return {values.data<float>(), values.data<float>() + count};
}

/// A norm's three rows, on the device and here.
struct NormReference {
  std::vector<float> center, factor, shift;
  DeviceArray<float> on_device_center, on_device_factor, on_device_shift;
  float slope = 0.01f;

  NormReference(const std::string& name, int64_t channels)
      : center(random(name + ".center", channels, 0.2)),
        factor(random(name + ".factor", channels, 0.5, 1)),
        shift(random(name + ".shift", channels, 0.5)),
        on_device_center(center),
        on_device_factor(factor),
        on_device_shift(shift) {}

  PendingNorm view() const { return {on_device_center.data(), on_device_factor.data(), on_device_shift.data(), slope}; }
  float taken(float x, size_t c) const {
    const double y = (double(x) - double(center[c])) * double(factor[c]) + double(shift[c]);
    return float(y < 0 ? double(slope) * y : y);
  }
};

/// Planes [first, last) of the inputs that results [c.first, c.last) read.
struct Planes {
  int64_t first, last;
};

struct InputReference {
  std::vector<float> operands;  // [H, W, D, channels], as they are multiplied
  std::unique_ptr<NormReference> norm;
  std::unique_ptr<DeviceArray<uint8_t>> on_device;
  cuda::ConvInput view;

  InputReference(const ConvCase& c, const std::string& name, int64_t channels, bool has_norm, int64_t ring,
                 Planes needed) {
    const int64_t plane = c.size[1] * c.size[2] * channels, held = ring > 0 ? ring : c.size[0];
    SAT_CHECK(needed.last - needed.first <= held, "a ring of ", ring, " planes for ", needed.last - needed.first);
    operands = random(name, c.size[0] * plane, 1);
    for (float& value : operands) value = rounded(value, c.dtype);
    if (c.lift != 0 && name == "x") {
      for (size_t at = 0; at < operands.size(); at += size_t(channels)) operands[at] = 1;
    }
    std::vector<float> raw(size_t(held * plane), std::numeric_limits<float>::quiet_NaN());
    for (int64_t h = needed.first; h < needed.last; ++h) {
      const int64_t place = ring > 0 ? h % ring : h;
      std::copy_n(operands.begin() + h * plane, plane, raw.begin() + place * plane);
    }
    on_device = std::make_unique<DeviceArray<uint8_t>>(encoded(raw, c.dtype));
    view = {on_device->data(), c.dtype, channels, ring, {}};
    if (!has_norm) return;
    norm = std::make_unique<NormReference>(name, channels);
    view.norm = norm->view();
    for (size_t at = 0; at < operands.size(); ++at) {
      const float y = norm->taken(operands[at], at % size_t(channels));
      operands[at] = c.rounds ? rounded(y, c.dtype) : y;
    }
  }
};

/// [27][in][out] as they are multiplied, in = both inputs' channels.
std::vector<float> weights_of(const ConvCase& c) {
  const int64_t in = c.channels + c.skip;
  std::vector<float> weights = random("weight", 27 * in * c.out, 2 / std::sqrt(27. * double(in)));
  for (float& weight : weights) weight = rounded(weight, c.dtype);
  for (int64_t tap = 0; tap < 27 && c.lift != 0; ++tap) {
    for (int64_t o = 0; o < c.out; ++o) weights[size_t(tap * in * c.out + o)] = tap == 13 ? c.lift : 0;
  }
  return weights;
}

/// As kernels.h wants them: f32 as they are; half types [27][pad16(out)][pad16(in0) + pad16(in1)].
std::vector<uint8_t> packed(const ConvCase& c, const std::vector<float>& weights) {
  if (c.dtype == DType::f32) return encoded(weights, c.dtype);
  const int64_t in = c.channels + c.skip, rows = cuda::pad16(c.out), first = cuda::pad16(c.channels);
  const int64_t columns = first + cuda::pad16(c.skip);
  std::vector<float> panels(size_t(27 * rows * columns), 0.f);
  for (int64_t tap = 0; tap < 27; ++tap) {
    for (int64_t i = 0; i < in; ++i) {
      const int64_t column = i < c.channels ? i : first + i - c.channels;
      for (int64_t o = 0; o < c.out; ++o) {
        panels[size_t((tap * rows + o) * columns + column)] = weights[size_t((tap * in + i) * c.out + o)];
      }
    }
  }
  return encoded(panels, c.dtype);
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const ConvCase& c) {
  out << "[" << c.size[0] << ", " << c.size[1] << ", " << c.size[2] << "] " << c.channels;
  if (c.skip > 0) out << " + " << c.skip;
  out << " -> " << c.out << ", stride " << c.stride << ", " << c.dtype << " -> " << c.store;
  if (c.norm || c.skip_norm) out << (c.norm ? ", norm" : ", no norm") << (c.skip_norm ? ", norm of the skip" : "");
  if (c.last >= 0) out << ", planes " << c.first << " to " << c.last;
  if (c.ring > 0) out << ", ring of " << c.ring;
  if (c.lift != 0) out << ", lifted by " << c.lift;
  return out;
}

std::vector<ConvCase> awkward_convs() {
  return {
      {.size = {1, 1, 1}, .channels = 8, .out = 24},
      {.size = {2, 2, 2}, .channels = 96, .out = 48},
      {.size = {2, 2, 2}, .channels = 24, .out = 8, .stride = 2},
      {.size = {3, 17, 33}, .channels = 1, .out = 8},
      {.size = {2, 15, 31}, .channels = 3, .out = 24},
      {.size = {5, 15, 17}, .channels = 3, .out = 8, .stride = 2},
      {.size = {3, 31, 2}, .channels = 24, .out = 48},
      {.size = {2, 17, 15}, .channels = 48, .out = 64},
      {.size = {3, 33, 17}, .channels = 48, .out = 24, .stride = 2},
      {.size = {4, 9, 33}, .channels = 64, .out = 64},
      {.size = {3, 2, 31}, .channels = 64, .out = 96, .stride = 2},
      {.size = {15, 1, 2}, .channels = 8, .out = 3},
      {.size = {33, 2, 1}, .channels = 8, .out = 8, .stride = 2},
      {.size = {2, 15, 17}, .channels = 96, .out = 1},
  };
}

struct ConvReference::Parts {
  ConvCase c;
  cuda::Conv conv;
  std::unique_ptr<InputReference> x, skip;
  std::unique_ptr<DeviceArray<uint8_t>> weights;
  std::vector<double> expected;  // [last - first, W', D', out]
  std::vector<uint8_t> bytes;

  int64_t plane() const { return conv.out_size[1] * conv.out_size[2] * conv.out; }  // elements

  /// The definition: every tap, zeros outside, sums in double.
  void compute(const std::vector<float>& w) {
    const int64_t in = c.channels + c.skip;
    expected.assign(size_t((conv.last - conv.first) * plane()), 0.);
    std::vector<double> weights_in_double(w.begin(), w.end());
    double* y = expected.data();
    for (int64_t h = conv.first; h < conv.last; ++h) {
      for (int64_t voxel = 0; voxel < conv.out_size[1] * conv.out_size[2]; ++voxel, y += c.out) {
        for (int64_t tap = 0; tap < 27; ++tap) {
          const int64_t xh = h * c.stride + tap / 9 - 1, xw = voxel / conv.out_size[2] * c.stride + tap / 3 % 3 - 1;
          const int64_t xd = voxel % conv.out_size[2] * c.stride + tap % 3 - 1;
          if (xh < 0 || xw < 0 || xd < 0 || xh >= c.size[0] || xw >= c.size[1] || xd >= c.size[2]) continue;
          const int64_t at = (xh * c.size[1] + xw) * c.size[2] + xd;
          for (int64_t i = 0; i < in; ++i) {
            const double value = double(i < c.channels ? x->operands[size_t(at * c.channels + i)]
                                                       : skip->operands[size_t(at * c.skip + i - c.channels)]);
            const double* row = &weights_in_double[size_t((tap * in + i) * c.out)];
            for (int64_t o = 0; o < c.out; ++o) y[o] += value * row[o];
          }
        }
      }
    }
  }

  /// Mean and mean square about it of channel o of the expected planes.
  std::array<double, 2> moments(int64_t o) const {
    double mean = 0, square = 0;
    const double count = double(expected.size()) / double(c.out);
    for (size_t at = size_t(o); at < expected.size(); at += size_t(c.out)) mean += expected[at] / count;
    for (size_t at = size_t(o); at < expected.size(); at += size_t(c.out)) {
      square += (expected[at] - mean) * (expected[at] - mean) / count;
    }
    return {mean, square};
  }

  /// Size of the results about their channels' means, and what f32 sums or half operands may differ by.
  double deviation() const {
    double sum = 0;
    for (int64_t o = 0; o < c.out; ++o) sum += moments(o)[1] / double(c.out);
    return std::max(std::sqrt(sum), 0.1);
  }
  double share() const { return c.dtype == DType::f32 ? 1e-5 : 2e-3; }

  std::string check_values(const uint8_t* values) const {
    const int64_t from = conv.first * plane(), to = conv.last * plane();
    const double allowed = share() * deviation();
    int64_t wrong = 0;
    std::ostringstream worst;
    for (int64_t at = from; at < to; ++at) {
      const double got = double(decoded(values, c.store, at)), want = expected[size_t(at - from)];
      if (std::abs(got - want) <= allowed + 1e-5 * std::abs(want) + rounding_of(want, c.store)) continue;
      if (wrong++ > 0) continue;
      const int64_t voxel = at / c.out, d = conv.out_size[2], w = conv.out_size[1];
      worst << "at [" << voxel / d / w << ", " << voxel / d % w << ", " << voxel % d << ", " << at % c.out << "]: got "
            << got << ", want " << want << ", allowed " << allowed;
    }
    if (wrong > 0) worst << " (" << wrong << " of " << to - from << " beyond)";
    return worst.str();
  }

  std::string check_partials(const cuda::PartialMoments* partials, int64_t a_plane) const {
    for (int64_t o = 0; o < c.out; ++o) {
      double count = 0, mean = 0, m2 = 0;
      for (int64_t at = conv.first * a_plane; at < conv.last * a_plane; ++at) {
        const cuda::PartialMoments& partial = partials[at * c.out + o];
        if (partial.count == 0) continue;
        const double total = count + double(partial.count), apart = double(partial.mean) - mean;
        mean += apart * double(partial.count) / total;
        m2 += double(partial.m2) + apart * apart * count * double(partial.count) / total;
        count = total;
      }
      const auto [want_mean, want_variance] = moments(o);
      const double want_count = double(expected.size()) / double(c.out), variance = m2 / want_count;
      std::ostringstream line;
      line.precision(9);
      line << "statistics of channel " << o << ": ";
      if (count != want_count) return (line << "count " << count << ", want " << want_count, line.str());
      const double allowed = share() * deviation() + 1e-5 * std::abs(want_mean);
      if (!(std::abs(mean - want_mean) <= allowed))
        return (line << "mean " << mean << ", want " << want_mean, line.str());
      // The values' own errors, and where they are far from zero their last places in f32, which a sum piles up.
      const double places = std::abs(want_mean) * 2e-6;
      const double spread = 3 * share() * (want_variance + 1e-3) + 2 * std::sqrt(want_variance) * places;
      if (!(std::abs(variance - want_variance) <= spread)) {
        return (line << "variance " << variance << ", want " << want_variance, line.str());
      }
    }
    return "";
  }
};

ConvReference::ConvReference(const ConvCase& c) : parts_(std::make_unique<Parts>()) {
  SAT_CHECK(c.lift == 0 || !c.norm, "a lifted result wants its first input without a norm");
  Parts& p = *parts_;
  p.c = c;
  for (size_t axis = 0; axis < 3; ++axis) p.conv.out_size[axis] = (c.size[axis] - 1) / c.stride + 1;
  p.conv.in_size = c.size;
  p.conv.stride = c.stride;
  p.conv.dtype = c.store;
  p.conv.out = c.out;
  p.conv.first = c.first;
  p.conv.last = c.last < 0 ? p.conv.out_size[0] : c.last;
  const Planes needed = {std::max<int64_t>(0, p.conv.first * c.stride - 1),
                         std::min(c.size[0], (p.conv.last - 1) * c.stride + 2)};
  p.x = std::make_unique<InputReference>(c, "x", c.channels, c.norm, c.ring, needed);
  p.conv.inputs[0] = p.x->view;
  if (c.skip > 0) {
    p.skip = std::make_unique<InputReference>(c, "skip", c.skip, c.skip_norm, 0, needed);
    p.conv.inputs[1] = p.skip->view;
  }
  const std::vector<float> weights = weights_of(c);
  p.weights = std::make_unique<DeviceArray<uint8_t>>(packed(c, weights));
  p.conv.weights = p.weights->data();
  p.compute(weights);
}

ConvReference::~ConvReference() = default;
const cuda::Conv& ConvReference::conv() const { return parts_->conv; }
const std::vector<uint8_t>& ConvReference::bytes() const { return parts_->bytes; }

std::string ConvReference::run(const cuda::Stream& stream, int64_t partials, int64_t workspace_bytes,
                               const Kernel& kernel) {
  Parts& p = *parts_;
  const int64_t height = p.conv.out_size[0], value_plane = p.plane() * size_of(p.c.store);
  const int64_t partial_plane = partials * p.c.out * int64_t(sizeof(cuda::PartialMoments));
  const DeviceArray<uint8_t> values(std::vector<uint8_t>(size_t(height * value_plane), kUntouched));
  const DeviceArray<uint8_t> statistics(std::vector<uint8_t>(size_t(height * partial_plane), kUntouched));
  const DeviceArray<uint8_t> workspace{size_t(workspace_bytes)};
  cuda::Conv conv = p.conv;
  conv.values = values.data();
  conv.partials = reinterpret_cast<cuda::PartialMoments*>(statistics.data());
  conv.workspace = workspace.data();
  kernel(stream, conv);

  p.bytes = values.values();
  const size_t value_bytes = p.bytes.size();
  const std::vector<uint8_t> partial_bytes = statistics.values();
  p.bytes.insert(p.bytes.end(), partial_bytes.begin(), partial_bytes.end());
  for (size_t at = 0; at < p.bytes.size(); ++at) {
    const bool is_value = at < value_bytes;
    const int64_t h = is_value ? int64_t(at) / value_plane : int64_t(at - value_bytes) / partial_plane;
    if ((h < conv.first || h >= conv.last) && p.bytes[at] != kUntouched) {
      return std::string(is_value ? "a value" : "a partial") + " of plane " + std::to_string(h) + " was written";
    }
  }
  const std::string values_line = p.check_values(p.bytes.data());
  if (!values_line.empty()) return values_line;
  return p.check_partials(reinterpret_cast<const cuda::PartialMoments*>(p.bytes.data() + value_bytes), partials);
}

}  // namespace sat::test
