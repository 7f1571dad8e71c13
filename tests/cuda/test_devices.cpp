// Devices as wholes: dry runs, two backends of one device, and, in suites that tests/cuda.sh runs in steps of their
// own, one with little memory, and several.
#include <doctest/doctest.h>

#include "sat/tensor/device/backend.h"
#include "sat/tensor/memory/block_allocator.h"
#include "tests/cuda/counts/kernel_runs.h"
#include "tests/cuda/device_context.h"
#include "tests/support/golden.h"

using namespace sat;
using namespace sat::test;

namespace {

Tensor filled(const Shape& shape) { return to_compute_device(full(shape, 0.25f)); }

/// Every op once, of small sizes.
void call_every_op() {
  const Tensor rows = filled({17, 96}), gain = filled({96});
  const std::vector<int64_t> first = {0, 5, 6, 17};
  const std::vector<uint8_t> flags(17, 1);
  const Tensor bias = attention_bias(filled({7, 3}), std::vector<int64_t>(21, 6), first, flags);
  const Tensor y = linear(layer_norm(rows, gain, gain, 1e-5f), pack_linear(full({40, 96}, 0.1f)), filled({40}));
  product_transposed(add(rows, gain), attention(rows, rows, rows, 3, {first, first}, bias));
  mean_of_rows(gather_rows(y, {16, 0, 3}), {0, 1, 3}, {1, 0, 1});
  conv_transpose3d(conv3d(filled({1, 5, 6, 7, 3}), pack_conv3d(full({8, 3, 3, 3, 3}, 0.1f)), filled({8})),
                   pack_conv_transpose3d(full({8, 4, 2, 2, 2}, 0.1f)), Tensor());

  const NormWeights norm{filled({8}), filled({8})};
  ConvSite site;
  site.grid = {8, 8, 8};
  const ConvBlockWeight stem = pack_conv_block(full({8, 1, 3, 3, 3}, 0.1f), site);
  site.input = stem.store;
  Features skip = conv3d_norm({filled({1, 8, 8, 8, 1})}, stem, norm);
  site.stride = 2;
  const Features low = conv3d_norm(skip, pack_conv_block(full({8, 8, 3, 3, 3}, 0.1f), site), norm);
  site.stride = 1;
  const UpBlockWeight up =
      pack_up_block(full({8, 16, 3, 3, 3}, 0.1f), full({8, 8, 2, 2, 2}, 0.1f), full({8}, 0.1f), site);
  const Features joined = conv3d_norm_up(low, std::move(skip), up, norm);
  avg_pool3d(joined, 4);
  Tensor scores = zeros({8, 8, 8, 5}, DType::f32, rows.device), weights = zeros({8, 8, 8}, DType::f32, rows.device);
  const ScoreRegion region{{}, {}, {}, {8, 8, 8}};
  accumulate_mask_scores(scores, joined, filled({5, 8}), filled({8, 8, 8}), region);
  accumulate_importance(weights, filled({8, 8, 8}), region);
  divide_rows(scores, weights, 0, 0, 8);
  to_host(scores);
  to_host(materialize(joined));
}

}  // namespace

TEST_CASE("a dry run of every op touches no values, and counts the memory in which the ops then run") {
  for (Precision precision : {Precision::exact, Precision::fast}) {
    DeviceContext device(precision);
    std::vector<int64_t> chunks;
    {
      Context dry(device.context().dry_run());
      const UseContext use(dry);
      dry.planned_memory()->reserve(0);
      call_every_op();
      chunks = dry.planned_memory()->chunk_peaks();
    }
    REQUIRE(!chunks.empty());
    const std::shared_ptr<BlockAllocator> memory = device.context().planned_memory();
    for (int64_t bytes : chunks) memory->reserve(bytes);
    memory->seal(true);  // one byte more would be an error
    CHECK_NOTHROW(call_every_op());
  }
}

TEST_CASE("another backend of a device has memory and a stream of its own, and reads what lies on the device") {
  cuda::DeviceOptions options;
  options.max_bytes = int64_t(64) << 20;
  DeviceContext device(Precision::exact, options);
  const DeviceHandle& one = device.context().device();
  const DeviceHandle other = one->another(int64_t(32) << 20);
  CHECK(other->runtime().name() == one->runtime().name());
  CHECK(one->runtime().memory()->max_bytes() == options.max_bytes - one->runtime().fixed_bytes());
  CHECK(other->runtime().memory()->max_bytes() == int64_t(32) << 20);
  const Tensor x = to_compute_device(field("x", {5, 33}, 1)), y = to_compute_device(field("y", {33}, 1));
  const Tensor expected = to_host(add(x, y));
  const int64_t live = one->runtime().memory()->live_bytes();
  ContextOptions of_context;
  of_context.device = other;
  Context context(of_context);
  const UseContext use(context);
  const Tensor sum = add(x, y);
  CHECK(mismatch(to_host(sum), expected, {}) == "");
  CHECK(other->runtime().memory()->live_bytes() > 0);
  CHECK(one->runtime().memory()->live_bytes() == live);
  CHECK(other->another()->runtime().memory()->max_bytes() == other->runtime().memory()->max_bytes());
}

TEST_SUITE("memory cap") {
  TEST_CASE("what does not fit into a device's memory is an error that says so, and the device goes on") {
    size_t free_bytes = 0, all_bytes = 0;
    cuda::check(cudaMemGetInfo(&free_bytes, &all_bytes), "cudaMemGetInfo");
    CHECK_THROWS_WITH_AS(DeviceArray<uint8_t>(2 * all_bytes), "cudaMalloc: the device is out of memory", Error);
    const ConvRun run({cuda::ConvVariant::plain, DType::f32, {3, 4, 5}, 8, 0, 8, 1}, device_stream());
    CHECK_NOTHROW(run.run());
  }
}

TEST_SUITE("several devices") {
  TEST_CASE("every variant gives the same bits on each device") {
    int devices = 0;
    cuda::check(cudaGetDeviceCount(&devices), "cudaGetDeviceCount");
    REQUIRE(devices > 1);
    for (const char* name : {"plain", "tiled", "mma", "wgmma"}) {
      CAPTURE(name);
      std::string first;
      for (int device = 0; device < devices; ++device) {
        cuda::check(cudaSetDevice(device), "cudaSetDevice");
        const ConvRun run({cuda::parse_conv_variant(name), DType::f16, {5, 17, 18}, 64, 0, 64, 1}, device_stream());
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
