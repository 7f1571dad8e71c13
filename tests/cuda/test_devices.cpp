// More than a plain device: one with little memory, and several. tests/cuda.sh runs these suites in steps of their own.
#include <doctest/doctest.h>

#include "tests/cuda/counts/kernel_runs.h"

using namespace sat;
using namespace sat::test;

TEST_SUITE("memory cap") {
  TEST_CASE("what does not fit into a device's memory is an error that says so, and the device goes on") {
    size_t free_bytes = 0, all_bytes = 0;
    cuda::check(cudaMemGetInfo(&free_bytes, &all_bytes), "cudaMemGetInfo");
    CHECK_THROWS_WITH_AS(DeviceArray<uint8_t>(2 * all_bytes), "cudaMalloc: the device is out of memory", Error);
    const ConvRun run({cuda::ConvVariant::plain, DType::f32, {3, 4, 5}, 8, 0, 8, 1}, device_queue());
    CHECK_NOTHROW(run.run());
  }
}

TEST_SUITE("several devices") {
  TEST_CASE("every rung gives the same bits on each device") {
    int devices = 0;
    cuda::check(cudaGetDeviceCount(&devices), "cudaGetDeviceCount");
    REQUIRE(devices > 1);
    for (const char* name : {"plain", "tiled", "mma", "wgmma"}) {
      CAPTURE(name);
      std::string first;
      for (int device = 0; device < devices; ++device) {
        cuda::check(cudaSetDevice(device), "cudaSetDevice");
        const ConvRun run({cuda::parse_conv_variant(name), DType::f16, {5, 17, 18}, 64, 0, 64, 1}, device_queue());
        if (!run.refusal().empty()) continue;  // of this architecture
        run.run();
        Hash hash;
        run.add_to(hash);
        if (first.empty()) first = hash.text();
        CHECK(hash.text() == first);
      }
      cuda::check(cudaSetDevice(0), "cudaSetDevice");
    }
  }
}
