// The composed up-convolution against the two ops that it is composed of, on the CPU in f32.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "sat/cuda/conv3d/composed/conv3d_composed.h"
#include "sat/tensor/ops.h"
#include "tests/cuda/device_array.h"
#include "tests/cuda/device_context.h"
#include "tests/support/golden.h"

namespace sat::test {

namespace {

constexpr DType kF16 = DType::f16, kBF16 = DType::bf16, kF32 = DType::f32;
constexpr uint8_t kUntouched = 0xa5;

struct ComposedCase {
  std::array<int64_t, 3> low{};  // grid
  int64_t in = 8, middle = 8, skip = 8, out = 8;
  DType dtype = DType::f16, store = DType::f32;
  bool norm = true, skip_norm = true;
  int64_t first = 0, last = -1;  // planes of the result; -1: up to the last
  double bias = 20;              // its size: a wrong border class is off by about as much
  double offset = 0;             // of skip's values: results far from zero
};

std::ostream& operator<<(std::ostream& out, const ComposedCase& c) {
  return out << "[" << c.low[0] << ", " << c.low[1] << ", " << c.low[2] << "] " << c.in << " -> " << c.middle << " + "
             << c.skip << " -> " << c.out << ", " << c.dtype << " -> " << c.store;
}

Tensor rounded(const Tensor& x, DType dtype) { return x.cast(dtype).cast(kF32); }

std::vector<uint8_t> bytes_of(const Tensor& x) {
  const uint8_t* bytes = static_cast<const uint8_t*>(x.raw());
  return {bytes, bytes + x.numel() * size_of(x.dtype)};
}

/// `x` [1, H, ...] as the device holds it; planes outside [first, last] are NaN: nothing may read them.
std::vector<uint8_t> planes_of(const Tensor& x, DType dtype, int64_t first, int64_t last) {
  Tensor held = x.cast(kF32).cast(dtype);
  const int64_t plane = held.numel() / held.shape[1] * size_of(dtype);
  uint8_t* bytes = static_cast<uint8_t*>(held.raw());
  for (int64_t h = 0; h < held.shape[1]; ++h) {
    if (h < first || h > last) std::memset(bytes + h * plane, 0xff, size_t(plane));
  }
  return bytes_of(held);
}

/// One input: values and their pending norm, here and on the device.
struct Input {
  Features features;
  DeviceArray<uint8_t> values;
  DeviceArray<float> center, factor, shift;
  cuda::ConvInput view;

  static std::vector<float> row(const Tensor& x) { return {x.data<float>(), x.data<float>() + x.numel()}; }

  Input(const std::string& name, const Shape& shape, DType dtype, bool norm, int64_t first, int64_t last, double offset)
      : features{rounded(field(name, shape, 1, offset), dtype), field(name + ".center", {1, shape[4]}, 0.2),
                 field(name + ".factor", {1, shape[4]}, 0.5, 1), field(name + ".shift", {1, shape[4]}, 0.5), 0.01f},
        values(planes_of(features.values, dtype, first, last)),
        center(row(features.center)),
        factor(row(features.factor)),
        shift(row(features.shift)) {
    view = {values.data(), dtype, shape[4], 0, {}};
    if (norm) {
      view.norm = {center.data(), factor.data(), shift.data(), features.slope};
    } else {
      features.center = features.factor = features.shift = Tensor();
    }
  }
};

Shape grid(const ComposedCase& c, int64_t scale, int64_t channels) {
  return {1, scale * c.low[0], scale * c.low[1], scale * c.low[2], channels};
}

/// [out, middle + skip, 3, 3, 3] -> [27][pad16(out)][pad16(skip)] of the skip's channels.
Tensor packed_skip(const ComposedCase& c, const Tensor& weight) {
  const int64_t rows = cuda::pad16(c.out), columns = cuda::pad16(c.skip), joined = c.middle + c.skip;
  Tensor packed({27, rows, columns});
  std::fill_n(packed.data<float>(), packed.numel(), 0.f);
  for (int64_t i = 0; i < c.out * c.skip * 27; ++i) {
    const int64_t tap = i % 27, channel = i / 27 % c.skip, o = i / 27 / c.skip;
    packed.data<float>()[(tap * rows + o) * columns + channel] =
        weight.data<float>()[(o * joined + c.middle + channel) * 27 + tap];
  }
  return packed;
}

/// The problem on the device and the expected results.
struct ComposedReference {
  ComposedCase c;
  int64_t last;
  Input low, skip;
  Tensor expected;  // [1, 2H, 2W, 2D, out]
  std::unique_ptr<DeviceArray<uint8_t>> weights_low, weights_skip, bias;
  cuda::ComposedConv conv;
  std::vector<uint8_t> bytes;  // of the last run: values, then partials

  explicit ComposedReference(const ComposedCase& what)
      : c(what),
        last(c.last < 0 ? 2 * c.low[0] : c.last),
        low("low", grid(c, 1, c.in), c.dtype, c.norm, (c.first - 1) / 2, last / 2, 0),
        skip("skip", grid(c, 2, c.skip), c.dtype, c.skip_norm, c.first - 1, last, c.offset) {
    const int64_t joined = c.middle + c.skip;
    const Tensor up = field("up", {c.in, c.middle, 2, 2, 2}, 1.7 / std::sqrt(double(c.in)));
    const Tensor up_bias = field("up.bias", {c.middle}, c.bias);
    // The skip's weights are multiplied as they are rounded; those of the up-sampled half are rounded once composed.
    Tensor weight = field("weight", {c.out, joined, 3, 3, 3}, 1.7 / std::sqrt(27. * double(joined)));
    const Tensor narrow = rounded(weight, c.dtype);
    for (int64_t i = 0; i < weight.numel(); ++i) {
      if (i / 27 % joined >= c.middle) weight.data<float>()[i] = narrow.data<float>()[i];
    }
    const Tensor above = conv_transpose3d(materialize(low.features), pack_conv_transpose3d(up), up_bias);
    expected = conv3d(concat_channels({above, materialize(skip.features)}), pack_conv3d(weight), Tensor());
    const cuda::ComposedWeights composed = cuda::compose_up(weight, up, up_bias);
    weights_low = std::make_unique<DeviceArray<uint8_t>>(bytes_of(composed.low.cast(c.dtype)));
    weights_skip = std::make_unique<DeviceArray<uint8_t>>(bytes_of(packed_skip(c, weight).cast(c.dtype)));
    bias = std::make_unique<DeviceArray<uint8_t>>(bytes_of(composed.bias));
    conv.low_size = c.low;
    conv.low = low.view;
    conv.skip = skip.view;
    conv.weights_low = weights_low->data();
    conv.weights_skip = weights_skip->data();
    conv.skip_pitch = cuda::pad16(c.skip);
    conv.bias = reinterpret_cast<const float*>(bias->data());
    conv.dtype = c.store;
    conv.out = c.out;
    conv.first = c.first;
    conv.last = last;
  }

  int64_t voxels() const { return 4 * c.low[1] * c.low[2]; }  // of a plane

  /// "" or one line: a value, the statistics of a channel, or a byte outside planes [first, last) that was written.
  std::string run(const cuda::Stream& stream) {
    const std::string refusal = cuda::conv3d_composed_refusal(conv, stream.limits);
    if (!refusal.empty()) return refusal;
    const int64_t height = 2 * c.low[0], a_plane = cuda::conv3d_composed_partials(conv);
    const int64_t value_plane = voxels() * c.out * size_of(c.store);
    const int64_t partial_plane = a_plane * c.out * int64_t(sizeof(cuda::PartialMoments));
    const DeviceArray<uint8_t> values(std::vector<uint8_t>(size_t(height * value_plane), kUntouched));
    const DeviceArray<uint8_t> partials(std::vector<uint8_t>(size_t(height * partial_plane), kUntouched));
    conv.values = values.data();
    conv.partials = reinterpret_cast<cuda::PartialMoments*>(partials.data());
    cuda::conv3d_composed(stream, conv);
    bytes = values.values();
    const std::vector<uint8_t> partial_bytes = partials.values();
    for (int64_t h = 0; h < height; ++h) {
      if (h >= conv.first && h < conv.last) continue;
      const auto touched = [&](const std::vector<uint8_t>& all, int64_t plane) {
        return std::any_of(all.begin() + h * plane, all.begin() + (h + 1) * plane,
                           [](uint8_t byte) { return byte != kUntouched; });
      };
      if (touched(bytes, value_plane)) return "a value of plane " + std::to_string(h) + " was written";
      if (touched(partial_bytes, partial_plane)) return "a partial of plane " + std::to_string(h) + " was written";
    }
    const std::string line = check_values();
    bytes.insert(bytes.end(), partial_bytes.begin(), partial_bytes.end());
    return line.empty() ? check_partials(reinterpret_cast<const cuda::PartialMoments*>(partial_bytes.data()), a_plane)
                        : line;
  }

 private:
  /// Results have a deviation of about 1, without the bias, which is not rounded. Operands are: normalised inputs and
  /// composed weights, some 2^-12 of each product of f16, 2^-9 of bf16.
  double allowed() const { return c.dtype == kF16 ? 2e-3 : 1.6e-2; }
  double rounding() const { return c.store == kF32 ? 1e-6 : c.store == kF16 ? 5e-4 : 4e-3; }

  std::string check_values() const {
    const Shape shape({last - c.first, 2 * c.low[1], 2 * c.low[2], c.out});
    Tensor got(grid(c, 2, c.out), c.store);
    std::memcpy(got.raw(), bytes.data(), bytes.size());
    got = got.cast(kF32);
    const int64_t from = c.first * voxels() * c.out;
    Tensor mine(shape), wanted(shape);
    std::copy_n(got.data<float>() + from, shape.numel(), mine.data<float>());
    std::copy_n(expected.data<float>() + from, shape.numel(), wanted.data<float>());
    return mismatch(mine, wanted, {rounding(), allowed()});
  }

  std::string check_partials(const cuda::PartialMoments* partials, int64_t a_plane) const {
    const double voxels_all = double((last - c.first) * voxels());
    for (int64_t o = 0; o < c.out; ++o) {
      double count = 0, mean = 0, m2 = 0, want_mean = 0, want_m2 = 0;
      for (int64_t at = c.first * a_plane; at < last * a_plane; ++at) {
        const cuda::PartialMoments& partial = partials[at * c.out + o];
        const double total = count + double(partial.count), apart = double(partial.mean) - mean;
        mean += apart * double(partial.count) / total;
        m2 += double(partial.m2) + apart * apart * count * double(partial.count) / total;
        count = total;
      }
      const float* x = expected.data<float>() + o;
      for (int64_t v = c.first * voxels(); v < last * voxels(); ++v) want_mean += double(x[v * c.out]) / voxels_all;
      for (int64_t v = c.first * voxels(); v < last * voxels(); ++v) {
        want_m2 += (double(x[v * c.out]) - want_mean) * (double(x[v * c.out]) - want_mean);
      }
      const double off = allowed() + 1e-6 * std::abs(want_mean), deviation = std::sqrt(m2 / voxels_all);
      if (count != voxels_all || !(std::abs(mean - want_mean) <= off) ||
          !(std::abs(deviation - std::sqrt(want_m2 / voxels_all)) <= off)) {
        return "channel " + std::to_string(o) + ": " + std::to_string(count) + " voxels, mean " + std::to_string(mean) +
               ", deviation " + std::to_string(deviation) + "; want " + std::to_string(voxels_all) + ", " +
               std::to_string(want_mean) + ", " + std::to_string(std::sqrt(want_m2 / voxels_all));
      }
    }
    return "";
  }
};

void check(const std::vector<ComposedCase>& cases) {
  for (const ComposedCase& c : cases) {
    CAPTURE(c);
    ComposedReference reference(c);
    CHECK(reference.run(device_stream()) == "");
  }
}

Features on_device(const Features& x, DType dtype) {
  const auto moved = [](const Tensor& part) { return to_compute_device(part); };
  return {moved(x.values.cast(dtype)), moved(x.center), moved(x.factor), moved(x.shift), x.slope};
}

}  // namespace

TEST_CASE("conv3d composed agrees with up-sampling and convolution at awkward grids") {
  check({{.low = {1, 1, 1}},
         {.low = {1, 1, 1}, .in = 64, .middle = 24, .skip = 24, .out = 64, .dtype = kBF16, .store = kBF16},
         {.low = {2, 3, 1}, .in = 24, .middle = 8, .skip = 64, .out = 24, .store = kF16},
         {.low = {1, 2, 9}, .in = 8, .middle = 24, .skip = 24, .out = 8, .dtype = kBF16},
         {.low = {3, 9, 2}, .in = 24, .skip = 8, .out = 64, .dtype = kBF16, .store = kF16},
         {.low = {2, 8, 9}, .in = 48, .middle = 24, .skip = 24, .out = 24, .store = kF16}});
}

TEST_CASE("conv3d composed: more channels than a block's, or than a load's") {
  check({{.low = {1, 3, 9}, .in = 72, .middle = 8, .skip = 40, .out = 72, .store = kF16},
         {.low = {1, 2, 3}, .in = 128, .middle = 64, .skip = 64, .out = 136, .store = kBF16}});
}

TEST_CASE("conv3d composed: norms of both inputs, of one, of none") {
  check({{.low = {2, 3, 2}, .in = 24, .skip = 24, .norm = false, .skip_norm = false},
         {.low = {2, 3, 2}, .in = 24, .skip = 24, .dtype = kBF16, .skip_norm = false},
         {.low = {2, 3, 2}, .in = 24, .skip = 24, .norm = false}});
}

TEST_CASE("conv3d composed reads and writes a range of planes and no others") {
  check({{.low = {5, 3, 2}, .in = 24, .skip = 8, .out = 24, .first = 4, .last = 6},
         {.low = {5, 2, 3}, .in = 8, .skip = 24, .out = 8, .store = kF16, .first = 0, .last = 2},
         {.low = {5, 2, 3}, .in = 8, .skip = 8, .out = 8, .first = 3, .last = 10}});
}

TEST_CASE("conv3d composed: statistics do not cancel where values are far from zero") {
  check({{.low = {2, 3, 9}, .in = 8, .skip = 8, .out = 24, .bias = 3000}});
}

TEST_CASE("compose_up takes an up-sampling without a bias") {
  const Tensor weight = field("weight", {3, 5, 3, 3, 3}, 1), up = field("up", {4, 2, 2, 2, 2}, 1);
  const cuda::ComposedWeights composed = cuda::compose_up(weight, up, Tensor());
  const cuda::ComposedWeights zero = cuda::compose_up(weight, up, field("zero", {2}, 0));
  CHECK(mismatch(composed.low, zero.low, {}) == "");
  CHECK(mismatch(composed.bias, field("zero", {27, 3}, 0), {}) == "");
  CHECK_THROWS_AS(cuda::compose_up(weight, up, field("bias", {3}, 1)), Error);
}

TEST_CASE("conv3d composed has the same bits on devices of any size, and slab by slab") {
  const ComposedCase c{.low = {3, 9, 2}, .in = 24, .skip = 24, .out = 24};
  ComposedReference whole(c);
  cuda::Stream stream = device_stream();
  REQUIRE(whole.run(stream) == "");
  stream.limits.processors = 1;
  ComposedReference again(c);
  REQUIRE(again.run(stream) == "");
  CHECK(again.bytes == whole.bytes);
  for (int64_t first = 0; first < 6; first += 2) {
    ComposedCase part = c;
    part.first = first;
    part.last = first + 2;
    ComposedReference slab(part);
    REQUIRE(slab.run(stream) == "");
    const int64_t plane = slab.voxels() * c.out * size_of(c.store);
    CHECK(std::equal(slab.bytes.begin() + first * plane, slab.bytes.begin() + (first + 2) * plane,
                     whole.bytes.begin() + first * plane));
  }
}

TEST_CASE("conv3d composed says what it cannot compute") {
  const cuda::Stream stream = device_stream();
  cuda::ComposedConv conv;
  conv.low_size = {1, 1, 1};
  conv.low.channels = conv.skip.channels = conv.out = 8;
  conv.low.dtype = conv.skip.dtype = kF16;
  CHECK(cuda::conv3d_composed_refusal(conv, stream.limits) == "");
  CHECK(cuda::conv3d_composed_refusal(conv, {75, 40, stream.limits.shared_bytes}).find("sm_75") != std::string::npos);
  CHECK(cuda::conv3d_composed_refusal(conv, {80, 40, 48 << 10}).find("49152") != std::string::npos);
  cuda::ComposedConv odd = conv;
  odd.skip.dtype = kBF16;
  CHECK(cuda::conv3d_composed_refusal(odd, stream.limits).find("two types") != std::string::npos);
  odd = conv;
  odd.low.dtype = kF32;
  CHECK(cuda::conv3d_composed_refusal(odd, stream.limits).find("f32") != std::string::npos);
  odd = conv;
  odd.out = 3;
  CHECK(cuda::conv3d_composed_refusal(odd, stream.limits).find("-> 3") != std::string::npos);
}

TEST_CASE("conv3d_norm_up takes composed weights where mma is the best variant, and agrees with up-sampling first") {
  const int64_t H = 52, in = 24, middle = 8, channels = 16;  // enough planes for room beside them
  const Tensor up = field("up", {in, middle, 2, 2, 2}, 0.3), up_bias = field("up.bias", {middle}, 3);
  const Tensor weight = field("weight", {channels, middle + channels, 3, 3, 3}, 0.06);
  for (DType dtype : {kF16, kBF16}) {
    cuda::DeviceOptions options;
    options.half = dtype;
    options.conv = "composed";
    const DeviceContext device(Precision::fast, options);
    const NormWeights norm{to_compute_device(field("gain", {channels}, 0.1, 1)),
                           to_compute_device(field("shift", {channels}, 0.1))};
    const Features low = on_device({field("low", {1, H, 1, 2, in}, 1)}, dtype);
    const Features skip = on_device({field("skip", {1, 2 * H, 2, 4, channels}, 1)}, dtype);
    ConvSite site;
    site.input = dtype;
    const UpBlockWeight composed = pack_up_block(weight, up, up_bias, site);
    CHECK(choose_conv(site, {middle + channels, channels, middle}).variant == "composed");
    REQUIRE(!composed.composed.empty());
    site.halvings = 3;
    const UpBlockWeight plain = pack_up_block(weight, up, up_bias, site);
    CHECK(choose_conv(site, {middle + channels, channels, middle}).variant == "mma");
    REQUIRE(plain.composed.empty());
    const auto result = [&](Features x, const UpBlockWeight& packed) {
      return to_host(materialize(conv3d_norm_up(low, std::move(x), packed, norm)));
    };
    const double bound = dtype == kF16 ? 1e-2 : 8e-2;
    const Tensor apart = result(skip, composed);
    CHECK(mismatch(apart, result(skip, plain), {bound, bound}) == "");

    // Over the skip's memory, with the room before it and then behind it.
    const ConvBlockWeight own = pack_conv_block(field("own", {channels, channels, 3, 3, 3}, 0.1), site);
    for (int layers : {1, 2}) {
      Features over = skip;
      for (int layer = 0; layer < layers; ++layer) over = conv3d_norm(std::move(over), own, norm);
      const Features kept{over.values.clone(), over.center, over.factor, over.shift, over.slope};
      const Tensor expected = result(kept, composed);
      const auto* buffer = over.values.buffer.get();
      const Features written = conv3d_norm_up(low, std::move(over), composed, norm);
      CHECK(written.values.buffer.get() == buffer);
      CHECK(mismatch(to_host(materialize(written)), expected, {}) == "");
    }
  }
}

TEST_CASE("weights are not composed for f32 features, nor where a variant is asked for that a device does not take") {
  const Tensor weight = field("weight", {16, 24, 3, 3, 3}, 1), up = field("up", {8, 8, 2, 2, 2}, 1);
  cuda::DeviceOptions options;
  for (const char* conv : {"composed", "tiled"}) {
    options.conv = conv;
    const DeviceContext device(Precision::exact, options);
    CHECK(pack_up_block(weight, up, Tensor(), {}).composed.empty());
    ConvSite site;
    site.variant = conv;
    CHECK_NOTHROW(pack_conv_block(weight, site));
    site.variant = "plain";
    CHECK_THROWS_WITH_AS(pack_conv_block(weight, site), doctest::Contains("is chosen by DeviceOptions::conv"), Error);
    CHECK_THROWS_AS(choose_conv(site, {24, 16}), Error);
    site.variant = "quick";
    CHECK_THROWS_WITH_AS(pack_up_block(weight, up, Tensor(), site), doctest::Contains("unknown convolution variant"),
                         Error);
  }
}

}  // namespace sat::test
