// The convolution on tensor cores of sm_80 against its reference on the CPU.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/cuda/conv3d/conv_reference.h"
#include "tests/cuda/device_array.h"

namespace sat::test {

namespace {

constexpr DType kF16 = DType::f16, kBF16 = DType::bf16, kF32 = DType::f32;

std::string run(ConvReference& reference, const cuda::Stream& stream) {
  const std::string refusal = cuda::conv3d_mma_refusal(reference.conv(), stream.limits);
  if (!refusal.empty()) return refusal;
  return reference.run(stream, cuda::conv3d_mma_partials(reference.conv()),
                       cuda::conv3d_mma_workspace(reference.conv(), stream.limits), cuda::conv3d_mma);
}

/// `shared_bytes`: what the device is said to have a block; 0: what it has.
void check(const std::vector<ConvCase>& cases, int64_t shared_bytes = 0) {
  for (const ConvCase& c : cases) {
    CAPTURE(c);
    cuda::Stream stream = device_stream();
    if (shared_bytes > 0) stream.limits.shared_bytes = shared_bytes;
    ConvReference reference(c);
    CHECK(run(reference, stream) == "");
  }
}

}  // namespace

TEST_CASE("conv3d mma agrees with the definition at awkward sizes and channels") {
  for (ConvCase c : awkward_convs()) {
    if (c.channels % 8 != 0) c.channels += 8 - c.channels % 8;
    if (c.out % 8 != 0) c.out += 8 - c.out % 8;
    c.dtype = c.size[0] % 2 == 0 ? kF16 : kBF16;
    c.store = c.size[1] % 2 == 0 ? c.dtype : kF32;
    check({c});
  }
}

TEST_CASE("conv3d mma: marching along H, a plane is loaded once for three") {
  check({{.size = {5, 17, 33}, .channels = 64, .out = 64, .dtype = kF16, .store = kF16},
         {.size = {3, 16, 16}, .channels = 48, .out = 64, .dtype = kBF16, .store = kBF16, .norm = false},
         {.size = {4, 31, 15}, .channels = 24, .out = 48, .dtype = kF16, .store = kF32},
         {.size = {2, 33, 16}, .channels = 64, .out = 96, .dtype = kF16, .store = kF16}});
}

TEST_CASE("conv3d mma: two inputs, one of them a ring of planes") {
  check({{.size = {6, 17, 16},
          .channels = 64,
          .out = 64,
          .skip = 64,
          .dtype = kF16,
          .store = kF16,
          .skip_norm = true,
          .first = 2,
          .last = 4,
          .ring = 4},
         {.size = {3, 15, 31},
          .channels = 8,
          .out = 24,
          .skip = 48,
          .dtype = kBF16,
          .store = kF32,
          .norm = false,
          .skip_norm = true},
         {.size = {2, 16, 17}, .channels = 96, .out = 128, .skip = 24, .dtype = kF16, .store = kBF16}});
}

TEST_CASE("conv3d mma: a stride of 2") {
  check({{.size = {5, 17, 33}, .channels = 64, .out = 64, .stride = 2, .dtype = kF16, .store = kF16},
         {.size = {4, 31, 16}, .channels = 64, .out = 128, .stride = 2, .dtype = kBF16, .store = kBF16},
         {.size = {7, 18, 34},
          .channels = 24,
          .out = 72,
          .stride = 2,
          .dtype = kF16,
          .store = kF32,
          .norm = false,
          .first = 1,
          .last = 3}});
}

TEST_CASE("conv3d mma: boxes of any sides where rows of 16 would be half empty") {
  check({{.size = {3, 37, 12}, .channels = 72, .out = 128, .dtype = kF16, .store = kF16},
         {.size = {2, 18, 33}, .channels = 32, .out = 72, .dtype = kF16, .store = kF16, .norm = false}});
}

TEST_CASE("conv3d mma: whole planes with the sum over channels split") {
  check({{.size = {9, 9, 3}, .channels = 192, .out = 160, .dtype = kF16, .store = kF16},
         {.size = {5, 18, 6}, .channels = 64, .out = 136, .skip = 40, .dtype = kF16, .store = kF32},
         {.size = {6, 9, 3}, .channels = 64, .out = 72, .dtype = kBF16, .store = kBF16, .first = 1, .last = 5},
         {.size = {5, 9, 6}, .channels = 96, .out = 128, .stride = 2, .dtype = kF16, .store = kF16}});
}

TEST_CASE("conv3d mma fits into the 99 KiB of shared memory of sm_86 and sm_89") {
  check({{.size = {4, 17, 16}, .channels = 64, .out = 72, .dtype = kF16, .store = kF16},
         {.size = {5, 16, 18}, .channels = 32, .out = 64, .dtype = kBF16, .store = kBF16},
         {.size = {3, 37, 12}, .channels = 40, .out = 128, .dtype = kF16, .store = kF16},
         {.size = {5, 33, 17}, .channels = 64, .out = 64, .stride = 2, .dtype = kF16, .store = kF32},
         {.size = {9, 9, 3}, .channels = 64, .out = 136, .skip = 40, .dtype = kF16, .store = kF16}},
        99 << 10);
}

TEST_CASE("conv3d mma: statistics do not cancel where values are far from zero") {
  check({{.size = {2, 17, 16}, .channels = 24, .out = 64, .dtype = kF16, .store = kF32, .norm = false, .lift = 1000},
         {.size = {4, 9, 3}, .channels = 64, .out = 128, .dtype = kF16, .store = kF32, .norm = false, .lift = 1000}});
}

TEST_CASE("conv3d mma has the same bits on devices of any size") {
  for (const ConvCase& c :
       std::vector<ConvCase>{{.size = {7, 16, 17}, .channels = 24, .out = 24, .dtype = kF16, .store = kF32},
                             {.size = {3, 15, 17}, .channels = 72, .out = 24, .dtype = kF16, .store = kF32},
                             {.size = {9, 9, 3}, .channels = 96, .out = 24, .dtype = kF16, .store = kF32}}) {
    CAPTURE(c);
    cuda::Stream stream = device_stream();
    ConvReference reference(c);
    stream.limits.processors = 1;
    CHECK(run(reference, stream) == "");
    const std::vector<uint8_t> one = reference.bytes();
    stream.limits.processors = 5;
    CHECK(run(reference, stream) == "");
    CHECK(reference.bytes() == one);
  }
}

TEST_CASE("conv3d mma says what it cannot compute") {
  const cuda::Stream stream = device_stream();
  const auto refusal = [&](const ConvCase& c, cuda::DeviceLimits limits) {
    return cuda::conv3d_mma_refusal(ConvReference(c).conv(), limits);
  };
  const ConvCase fine = {.size = {1, 2, 2}, .channels = 8, .out = 8, .dtype = kF16};
  CHECK(refusal(fine, stream.limits) == "");
  ConvCase odd = fine;
  odd.channels = 12;
  CHECK(refusal(odd, stream.limits).find("12") != std::string::npos);
  odd = fine;
  odd.out = 3;
  CHECK(refusal(odd, stream.limits).find("-> 3") != std::string::npos);
  odd = fine;
  odd.dtype = kF32;
  CHECK(refusal(odd, stream.limits).find("f32") != std::string::npos);
  CHECK(refusal(fine, {75, 40, stream.limits.shared_bytes}).find("sm_75") != std::string::npos);
  CHECK(refusal(fine, {80, 40, 48 << 10}).find("49152") != std::string::npos);
}

}  // namespace sat::test
