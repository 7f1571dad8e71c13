// conv3d_plain, the definition on the device, against the definition in double.
#include <doctest/doctest.h>

#include "tests/cuda/conv3d/conv_reference.h"
#include "tests/cuda/device_array.h"

using namespace sat;
using namespace sat::test;

namespace {

std::string difference(const ConvCase& c) {
  ConvReference reference(c);
  return reference.run(device_stream(), reference.conv().out_size[1], 0, cuda::conv3d_plain);
}

}  // namespace

TEST_CASE("plain convolution: awkward sizes agree with the definition in every type") {
  const DType types[] = {DType::f32, DType::f16, DType::bf16};
  size_t which = 0;
  for (ConvCase c : awkward_convs()) {
    c.rounds = false;
    c.dtype = c.store = types[which++ % 3];
    CAPTURE(c);
    CHECK(difference(c) == "");
  }
}

TEST_CASE("plain convolution: the result's type does not depend on the inputs'") {
  for (DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    for (DType store : {DType::f32, DType::f16, DType::bf16}) {
      const ConvCase c{.size = {2, 3, 9}, .channels = 3, .out = 24, .dtype = dtype, .store = store, .rounds = false};
      CAPTURE(c);
      CHECK(difference(c) == "");
    }
  }
}

TEST_CASE("plain convolution: two inputs, a ring, a range of planes") {
  const ConvCase c{
      .size = {9, 3, 7}, .channels = 8, .out = 24, .skip = 3, .skip_norm = true, .first = 3, .last = 6, .ring = 5};
  for (DType dtype : {DType::f32, DType::f16}) {
    for (int64_t stride : {1, 2}) {
      ConvCase varied = c;
      varied.dtype = varied.store = dtype;
      varied.rounds = false;
      varied.stride = stride;
      if (stride == 2) varied.last = 5;
      CAPTURE(varied);
      CHECK(difference(varied) == "");
    }
  }
}

TEST_CASE("plain convolution: statistics do not cancel where the mean is a thousand deviations") {
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
