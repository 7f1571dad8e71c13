// Ops of vision transformers and of SAT's other backbones in work that is captured and launched again, and in dry runs:
// the same bits, and the same memory.
#include <doctest/doctest.h>

#include "sat/tensor/device/replay.h"
#include "sat/tensor/memory/block_allocator.h"
#include "sat/tensor/ops.h"
#include "tests/cuda/device_context.h"
#include "tests/support/golden.h"

using namespace sat;
using namespace sat::test;

namespace {

/// Made-up values; in a dry run there are none.
Tensor made(const std::string& name, const Shape& shape, double scale) {
  return Context::current().dry() ? Tensor(shape) : field(name, shape, scale);
}

/// A small network of every op that takes a list or lies in a window's way.
class Network {
 public:
  Network() {
    dense_ = pack_linear(made("dense", {16, 16}, 0.3));
    image_ = pack_conv2d(made("image", {16, 16, 3, 3}, 0.1));
    up_ = pack_conv_transpose2d(made("up", {16, 8, 2, 2}, 0.2));
    block_ = pack_conv_block(made("block", {16, 16, 3, 3, 3}, 0.1), ConvSite{});
    const auto there = [](const char* name, const Shape& shape) { return to_compute_device(made(name, shape, 0.5)); };
    bias_ = there("bias", {16});
    relative_ = there("relative", {2, 8, 8});
    short_ = there("short", {16, 4});
    log_a_ = there("log_a", {16, 4});
  }

  std::vector<Tensor> operator()(const Tensor& x) const {  // [16, 16]
    Segments windows = equal_segments(2, 8, 8);
    windows.regions = {0, 0, 0, 1, 1, 1, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0};
    Tensor rows = gather_rows(layer_norm(x, {}, {}, 1e-5f), shifted());
    rows = attention(rows, rows, rows, 2, windows, relative_);
    rows = linear_add(x, gelu(gather_rows(rows, shifted())), dense_, bias_, bias_);
    const Tensor picture = reshape(rows, {1, 4, 4, 16});
    const Tensor resized = resample(conv2d(picture, image_, bias_), 1, cubic_taps(4, 7));
    const Tensor joined = conv_transpose2d(max_pool2d(resized, 2), up_, {}, 2);
    const Tensor patches = join_patches(split_patches(joined, 2), 2);
    const NormWeights norm{bias_, bias_};
    const Tensor volume = reshape(rows, {1, 2, 2, 4, 16});
    const Features block = conv3d_norm({volume}, block_, norm);
    const Features sum = sum_features(block, instance_norm(volume, norm), 0.01f);
    const Tensor sequence = causal_conv1d_silu(reshape(materialize(sum), {1, 16, 16}), short_, bias_);
    const Tensor states = slice(reshape(rows, {64, 4}), 0, 16);
    const Tensor mixed = reshape(states, {1, 16, 4});
    const Tensor scanned = selective_scan(sequence, sequence, log_a_, mixed, mixed, bias_, sequence);
    return {patches, scanned, attention_map(rows, rows, 2)};
  }

 private:
  /// Rows of a grid that is shifted by one, with a place where nothing is.
  static std::vector<int64_t> shifted() {
    std::vector<int64_t> ids;
    for (int64_t i = 0; i < 16; ++i) ids.push_back(i == 5 ? -1 : (i + 1) % 16);
    return ids;
  }

  PackedMatrix dense_, up_;
  PackedConv3d image_;
  ConvBlockWeight block_;
  Tensor bias_, relative_, short_, log_a_;
};

Tensor input(int64_t run) { return made("x" + std::to_string(run), {16, 16}, 1); }

}  // namespace

TEST_CASE("captured work of these ops has the bits of work that is queued as it comes") {
  constexpr int64_t kRuns = 4;
  const DeviceContext device(Precision::exact);
  const Network network;
  std::vector<std::vector<Tensor>> want;
  for (int64_t run = 0; run < kRuns; ++run) {
    want.emplace_back();
    for (const Tensor& result : network(to_compute_device(input(run)))) want.back().push_back(to_host(result));
  }
  Tensor there({16, 16}, DType::f32, Context::current().compute_device());
  Replay replay;
  for (int64_t run = 0; run < kRuns; ++run) {
    const auto bring = [&] {
      copy(there, to_compute_device(input(run)));
      return there;
    };
    const std::vector<Tensor> got = replay.run(bring, [&](const Tensor& x) { return network(x); });
    for (size_t i = 0; i < got.size(); ++i) CHECK(mismatch(to_host(got[i]), want[size_t(run)][i], {}) == "");
  }
}

TEST_CASE("a dry run of these ops holds what a real one holds") {
  const auto run = [] {
    const Network network;
    const std::vector<Tensor> results = network(to_compute_device(input(0)));
    return Context::current().planned_memory()->chunk_peaks();
  };
  for (const Precision precision : {Precision::exact, Precision::fast}) {
    const DeviceContext device(precision);
    std::vector<int64_t> planned;
    {
      Context dry(Context::current().dry_run());
      const UseContext use(dry);
      planned = run();
    }
    const std::shared_ptr<BlockAllocator> memory = Context::current().planned_memory();
    for (const int64_t bytes : planned) memory->reserve(bytes);
    memory->seal(true);
    CHECK(run() == planned);
  }
}
