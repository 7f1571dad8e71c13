// Copies and fills with a pitch, whose pitch the runtime's own calls take up to 2^31 - 1 only.
#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "sat/cuda/device/stream.h"
#include "tests/cuda/device_array.h"

namespace sat::test {

using cuda::calls_of;
using cuda::RunCalls;

namespace {

constexpr int64_t kFarther = cuda::kMostPitch + 1;

std::vector<uint8_t> bytes_at(const DeviceArray<uint8_t>& array, int64_t first, size_t count) {
  std::vector<uint8_t> here(count);
  cuda::check(cudaMemcpy(here.data(), array.data() + first, count, cudaMemcpyDeviceToHost), "cudaMemcpy");
  return here;
}

void put(const DeviceArray<uint8_t>& array, int64_t first, const std::vector<uint8_t>& bytes) {
  cuda::check(cudaMemcpy(array.data() + first, bytes.data(), bytes.size(), cudaMemcpyHostToDevice), "cudaMemcpy");
}

}  // namespace

TEST_CASE("runs that touch or stand alone are one block of bytes, whatever their pitch") {
  CHECK(calls_of({64, 5, 64, 64}) == RunCalls::one_block);
  CHECK(calls_of({64, 1, 96, 80}) == RunCalls::one_block);
  CHECK(calls_of({64, 1, kFarther, 3 * kFarther}) == RunCalls::one_block);
  CHECK(calls_of({2 * kFarther, 7, 2 * kFarther, 2 * kFarther}) == RunCalls::one_block);
  CHECK(calls_of({0, 5, 64, 64}) == RunCalls::none);
  CHECK(calls_of({64, 0, 64, 64}) == RunCalls::none);
}

TEST_CASE("no pitch above 2^31 - 1 is given to the runtime") {
  CHECK(calls_of({64, 5, 96, 64}) == RunCalls::pitched);
  CHECK(calls_of({64, 5, cuda::kMostPitch, 64}) == RunCalls::pitched);
  CHECK(calls_of({64, 5, kFarther, 64}) == RunCalls::each);
  CHECK(calls_of({64, 5, 64, kFarther}) == RunCalls::each);
  CHECK_THROWS_WITH_AS(calls_of({64, 5, 63, 80}), doctest::Contains("runs of 64 bytes lie 63 and 80 bytes apart"),
                       Error);
}

TEST_CASE("scores of 288 x 288 x 32 prompts a row of windows lie too far apart for a pitch") {
  // One row along the first axis of a scan that is longer than a window: its neighbour lies a whole scan further.
  const int64_t row = int64_t(288) * 288 * 32 * 4, window = 288 * row, scan = 400 * row;
  CHECK(calls_of({window, 1, scan, scan}) == RunCalls::one_block);
  CHECK(calls_of({window, 2, scan, scan}) == RunCalls::each);
}

TEST_CASE("runs are copied and cleared, and nothing beside them, near together and far apart") {
  const cuda::Stream stream = device_stream();
  const DeviceArray<uint8_t> array(size_t(kFarther + 4096));
  for (const int64_t pitch : {int64_t(128), kFarther}) {
    CAPTURE(pitch);
    std::vector<uint8_t> numbers[2];
    for (int64_t i : {0, 1}) {
      for (int k = 0; k < 96; ++k) numbers[i].push_back(uint8_t(10 + 100 * i + k));
      put(array, i * pitch, numbers[i]);
      put(array, 1024 + i * pitch, std::vector<uint8_t>(96, 7));
    }
    cuda::copy_runs(stream, array.data() + 1040, array.data(), {64, 2, pitch, pitch});
    cuda::check(cudaStreamSynchronize(stream.handle), "copy_runs");
    for (int64_t i : {0, 1}) {
      CAPTURE(i);
      std::vector<uint8_t> want(96, 7);
      std::copy_n(numbers[i].begin(), 64, want.begin() + 16);
      CHECK(bytes_at(array, 1024 + i * pitch, 96) == want);
      CHECK(bytes_at(array, i * pitch, 96) == numbers[i]);
    }
    cuda::zero_runs(stream, array.data() + 1040, {32, 2, pitch, 0});
    cuda::check(cudaStreamSynchronize(stream.handle), "zero_runs");
    for (int64_t i : {0, 1}) {
      CAPTURE(i);
      std::vector<uint8_t> want(96, 7);
      std::copy_n(numbers[i].begin(), 64, want.begin() + 16);
      std::fill_n(want.begin() + 16, 32, uint8_t(0));
      CHECK(bytes_at(array, 1024 + i * pitch, 96) == want);
    }
  }
}

}  // namespace sat::test
