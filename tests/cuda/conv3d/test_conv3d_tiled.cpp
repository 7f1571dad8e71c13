// conv3d_tiled against the definition in double, and its bits against itself over ranges of planes.
#include <doctest/doctest.h>

#include "tests/cuda/conv3d/conv_reference.h"
#include "tests/cuda/device_array.h"

using namespace sat;
using namespace sat::test;

namespace {

std::string difference(const ConvCase& c) {
  ConvReference reference(c);
  const cuda::Stream stream = device_stream();
  const std::string refusal = cuda::conv3d_tiled_refusal(reference.conv(), stream.limits);
  if (!refusal.empty()) return refusal;
  return reference.run(stream, cuda::conv3d_tiled_partials(reference.conv()), 0, cuda::conv3d_tiled);
}

}  // namespace

TEST_CASE("tiled convolution: awkward sizes agree with the definition in every type") {
  for (ConvCase c : awkward_convs()) {
    c.rounds = false;
    for (DType dtype : {DType::f32, DType::f16, DType::bf16}) {
      c.dtype = c.store = dtype;
      CAPTURE(c);
      CHECK(difference(c) == "");
    }
  }
}

TEST_CASE("tiled convolution: the first layer of a network takes f32 images and stores any type") {
  for (int64_t channels : {1, 3}) {
    for (DType store : {DType::f32, DType::f16, DType::bf16}) {
      const ConvCase c{.size = {3, 9, 17}, .channels = channels, .out = 64, .store = store, .norm = false};
      CAPTURE(c);
      CHECK(difference(c) == "");
    }
  }
}

TEST_CASE("tiled convolution: two inputs, a ring, a range of planes") {
  for (DType dtype : {DType::f32, DType::f16}) {
    for (int64_t stride : {1, 2}) {
      for (int64_t skip : {3, 24}) {
        const ConvCase c{.size = {9, 5, 11},
                         .channels = 12,
                         .out = 72,
                         .skip = skip,
                         .stride = stride,
                         .dtype = dtype,
                         .store = dtype,
                         .skip_norm = true,
                         .first = 2,
                         .last = stride == 1 ? 5 : 4,
                         .ring = 6,
                         .rounds = false};
        CAPTURE(c);
        CHECK(difference(c) == "");
      }
    }
  }
}

TEST_CASE("tiled convolution: statistics do not cancel where the mean is a thousand deviations") {
  for (DType dtype : {DType::f32, DType::f16}) {
    const ConvCase c{.size = {3, 5, 17},
                     .channels = 8,
                     .out = 8,
                     .dtype = dtype,
                     .store = dtype,
                     .norm = false,
                     .rounds = false,
                     .lift = 1000};
    CAPTURE(c);
    CHECK(difference(c) == "");
  }
}

TEST_CASE("tiled convolution: planes have the same bits whichever launch computes them") {
  ConvReference reference({.size = {5, 9, 9}, .channels = 8, .out = 24});
  const cuda::Stream stream = device_stream();
  const int64_t partials = cuda::conv3d_tiled_partials(reference.conv());
  CHECK(reference.run(stream, partials, 0, cuda::conv3d_tiled) == "");
  const std::vector<uint8_t> whole = reference.bytes();
  CHECK(reference.run(stream, partials, 0, [](const cuda::Stream& same, const cuda::Conv& conv) {
    for (int64_t h = 0; h < 5; ++h) {
      cuda::Conv plane = conv;
      plane.first = h;
      plane.last = h + 1;
      cuda::conv3d_tiled(same, plane);
    }
  }) == "");
  CHECK(reference.bytes() == whole);
}
