// The convolution on Hopper's matrix units against the reference in double, at shapes that do not fit its columns.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "sat/cuda/kernels.h"
#include "tests/cuda/conv3d/conv_reference.h"
#include "tests/cuda/device_array.h"

namespace sat::test {

namespace {

constexpr int kHopper = 90;

/// Runs a case; on another device, its refusal has to say so. `processors`: blocks at most, 0 for the device's own.
std::string run(ConvReference& reference, int processors = 0) {
  cuda::Stream stream = device_stream();
  const std::string refusal = cuda::conv3d_wgmma_refusal(reference.conv(), stream.limits);
  if (stream.limits.arch != kHopper) {
    return refusal.find("sm_90") != std::string::npos ? "" : "not refused on another device: " + refusal;
  }
  if (!refusal.empty()) return "refused: " + refusal;
  if (processors > 0) stream.limits.processors = processors;
  return reference.run(stream, cuda::conv3d_wgmma_partials(reference.conv()), 0, cuda::conv3d_wgmma);
}

void check(const std::vector<ConvCase>& cases) {
  for (const ConvCase& c : cases) {
    CAPTURE(c);
    ConvReference reference(c);
    CHECK(run(reference) == "");
  }
}

constexpr DType f16 = DType::f16, bf16 = DType::bf16, f32 = DType::f32;

}  // namespace

TEST_CASE("conv3d wgmma: 64 channels agree with the reference at axes that end within a column") {
  check({
      {.size = {1, 1, 1}, .channels = 64, .out = 64, .dtype = f16, .store = f16},
      {.size = {2, 17, 15}, .channels = 64, .out = 64, .dtype = bf16, .store = bf16},
      {.size = {3, 16, 17}, .channels = 64, .out = 64, .dtype = f16, .store = f16},
      {.size = {2, 31, 2}, .channels = 64, .out = 64, .dtype = f16, .store = f16},
      {.size = {1, 2, 33}, .channels = 64, .out = 64, .dtype = bf16, .store = f32, .norm = false},
      {.size = {5, 3, 9}, .channels = 64, .out = 64, .dtype = f16, .store = f32},
      {.size = {17, 2, 3}, .channels = 64, .out = 64, .dtype = f16, .store = f16},
  });
}

TEST_CASE("conv3d wgmma: axes that columns divide agree with the reference, in every type of result") {
  check({
      {.size = {2, 16, 16}, .channels = 64, .out = 64, .dtype = bf16, .store = f32},
      {.size = {1, 16, 16}, .channels = 32, .out = 64, .dtype = bf16, .store = bf16, .norm = false},
      {.size = {2, 16, 8}, .channels = 96, .out = 64, .dtype = f16, .store = f16},
      {.size = {1, 16, 8}, .channels = 128, .out = 16, .dtype = f16, .store = f32},
  });
}

TEST_CASE("conv3d wgmma: other numbers of channels agree with the reference") {
  check({
      {.size = {2, 15, 17}, .channels = 8, .out = 8, .dtype = f16, .store = f16},
      {.size = {3, 5, 4}, .channels = 24, .out = 48, .dtype = bf16, .store = bf16},
      {.size = {2, 9, 5}, .channels = 48, .out = 24, .dtype = f16, .store = f32},
      {.size = {2, 3, 17}, .channels = 96, .out = 96, .dtype = f16, .store = f16},
      {.size = {3, 17, 9}, .channels = 128, .out = 8, .dtype = bf16, .store = bf16},
      {.size = {2, 4, 7}, .channels = 128, .out = 136, .dtype = f16, .store = f16},
      {.size = {1, 2, 3}, .channels = 80, .out = 64, .dtype = bf16, .store = f32, .norm = false},
  });
}

TEST_CASE("conv3d wgmma: more channels than a block holds are taken in passes") {
  check({
      {.size = {3, 2, 9}, .channels = 192, .out = 72, .dtype = f16, .store = f16},
      {.size = {2, 3, 2}, .channels = 136, .out = 24, .dtype = bf16, .store = bf16, .norm = false},
      {.size = {3, 2, 9}, .channels = 64, .out = 8, .skip = 128, .dtype = f16, .store = f16, .skip_norm = true},
      {.size = {2, 2, 3}, .channels = 256, .out = 8, .skip = 256, .dtype = bf16, .store = f32, .skip_norm = true},
      {.size = {1, 1, 3}, .channels = 512, .out = 8, .skip = 512, .dtype = f16, .store = f16, .skip_norm = true},
  });
}

TEST_CASE("conv3d wgmma: two inputs, each with its own norm or none, stand for their concatenation") {
  check({
      {.size = {3, 7, 9}, .channels = 64, .out = 64, .skip = 64, .dtype = f16, .store = f16, .skip_norm = true},
      {.size = {2, 5, 17},
       .channels = 24,
       .out = 16,
       .skip = 8,
       .dtype = bf16,
       .store = bf16,
       .norm = false,
       .skip_norm = true},
      {.size = {2, 5, 3}, .channels = 8, .out = 64, .skip = 64, .dtype = f16, .store = f16},
      {.size = {2, 2, 9}, .channels = 40, .out = 32, .skip = 8, .dtype = f16, .store = f32, .skip_norm = true},
  });
}

TEST_CASE("conv3d wgmma: a range of planes reads its neighbours alone and writes nothing else") {
  check({
      {.size = {9, 5, 3}, .channels = 64, .out = 64, .dtype = f16, .store = f16, .first = 3, .last = 6},
      {.size = {9, 3, 5}, .channels = 32, .out = 24, .dtype = bf16, .store = bf16, .first = 0, .last = 4},
      {.size = {9, 3, 5}, .channels = 96, .out = 24, .dtype = f16, .store = f16, .first = 8, .last = 9},
      {.size = {11, 4, 5},
       .channels = 64,
       .out = 64,
       .skip = 64,
       .dtype = f16,
       .store = f16,
       .skip_norm = true,
       .first = 5,
       .last = 8,
       .ring = 6},
      {.size = {7, 4, 5},
       .channels = 16,
       .out = 16,
       .skip = 16,
       .dtype = f16,
       .store = f16,
       .norm = false,
       .first = 4,
       .last = 7,
       .ring = 4},
  });
}

TEST_CASE("conv3d wgmma: statistics hold where a channel's mean is far larger than its spread") {
  check({{.size = {4, 17, 18}, .channels = 16, .out = 8, .dtype = f16, .store = f32, .norm = false, .lift = 1000}});
}

TEST_CASE("conv3d wgmma: the result has the same bits for any number of blocks") {
  ConvReference reference({.size = {7, 18, 17}, .channels = 32, .out = 72, .dtype = f16, .store = f16});
  CHECK(run(reference) == "");
  const std::vector<uint8_t> bytes = reference.bytes();
  for (int processors : {1, 3}) {
    CAPTURE(processors);
    CHECK(run(reference, processors) == "");
    CHECK(reference.bytes() == bytes);
  }
}

TEST_CASE("conv3d wgmma: the output may lie a few planes before its input, slab by slab") {
  const ConvCase c{.size = {8, 3, 5}, .channels = 64, .out = 64, .dtype = f16, .store = f16};
  ConvReference reference(c);
  cuda::Stream stream = device_stream();
  CHECK(run(reference) == "");
  if (stream.limits.arch != kHopper) return;
  const std::vector<uint8_t> expected = reference.bytes();

  const int64_t slab = 2, plane = 3 * 5 * 64, shift = slab + 1;
  const DeviceArray<uint16_t> input(size_t(8 * plane)), memory(size_t((8 + shift) * plane));
  cuda::Conv conv = reference.conv();
  cuda::check(
      cudaMemcpy(memory.data() + shift * plane, conv.inputs[0].values, size_t(2 * 8 * plane), cudaMemcpyDeviceToDevice),
      "cudaMemcpy");
  const DeviceArray<cuda::PartialMoments> partials(size_t(8 * cuda::conv3d_wgmma_partials(conv) * 64));
  conv.inputs[0].values = memory.data() + shift * plane;
  conv.values = memory.data();
  conv.partials = partials.data();
  for (conv.first = 0; conv.first < 8; conv.first += slab) {
    conv.last = conv.first + slab;
    cuda::conv3d_wgmma(stream, conv);
  }
  const std::vector<uint16_t> values = memory.values();
  const auto* bytes = reinterpret_cast<const uint8_t*>(values.data());
  CHECK(std::equal(bytes, bytes + 2 * 8 * plane, expected.begin()));
}

TEST_CASE("conv3d wgmma: what it cannot compute is refused with the reason") {
  const cuda::DeviceLimits hopper{90, 132, 232448}, ampere{80, 108, 166912};
  const auto refusal = [](const ConvCase& c, const cuda::DeviceLimits& limits) {
    const ConvReference reference(c);
    return cuda::conv3d_wgmma_refusal(reference.conv(), limits);
  };
  const ConvCase good{.size = {1, 1, 1}, .channels = 64, .out = 64, .dtype = f16, .store = f16};
  CHECK(refusal(good, hopper) == "");
  CHECK(refusal(good, ampere) == "needs a device of sm_90, this one is sm_80");
  ConvCase c = good;
  c.dtype = c.store = f32;
  CHECK(refusal(c, hopper) == "needs f16 or bf16 inputs, not f32");
  c = good;
  c.store = bf16;
  CHECK(refusal(c, hopper) == "stores the inputs' type or f32");
  c = good;
  c.stride = 2;
  CHECK(refusal(c, hopper) == "needs stride 1, not 2");
  c = good;
  c.out = 12;
  CHECK(refusal(c, hopper) == "needs channels in multiples of 8, not 12");
  c = good;
  c.channels = 72;
  c.skip = 64;
  CHECK(refusal(c, hopper) == "takes 64 channels in a pass, the first input has 72");
  CHECK(refusal(good, {90, 132, 101376}).find("bytes of shared memory, there are 101376") != std::string::npos);
}

}  // namespace sat::test
