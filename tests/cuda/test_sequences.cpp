// Mamba's selective scan on the device: both variants against the CPU at awkward sizes, what a step depends on, and
// refusals.
#include <doctest/doctest.h>

#include "sat/cuda/sequences/selective_scan.h"
#include "sat/tensor/ops.h"
#include "tests/cuda/device_array.h"
#include "tests/cuda/device_context.h"
#include "tests/support/golden.h"

using namespace sat;
using namespace sat::test;
using cuda::ScanVariant;

namespace {

std::vector<float> values_of(const Tensor& x) { return {x.data<float>(), x.data<float>() + x.numel()}; }

struct Case {
  int64_t batch, length, channels, states;
};

struct Inputs {
  Tensor x, delta, log_a, b, c, d, gate;

  explicit Inputs(const Case& s)
      : x(field("x", {s.batch, s.length, s.channels}, 1)),
        delta(field("delta", {s.batch, s.length, s.channels}, 2, -1)),
        log_a(field("log_a", {s.channels, s.states}, 1)),
        b(field("b", {s.batch, s.length, s.states}, 1)),
        c(field("c", {s.batch, s.length, s.states}, 1)),
        d(field("d", {s.channels}, 1)),
        gate(field("gate", {s.batch, s.length, s.channels}, 3)) {}

  Tensor on_host() const { return selective_scan(x, delta, log_a, b, c, d, gate); }
  Tensor on_device(ScanVariant variant) const {
    const DeviceArray<float> x_(values_of(x)), delta_(values_of(delta)), gate_(values_of(gate)), y(size_t(x.numel()));
    const DeviceArray<float> log_a_(values_of(log_a)), b_(values_of(b)), c_(values_of(c)), d_(values_of(d));
    const cuda::Scan scan{x_.data(), delta_.data(), gate_.data(), log_a_.data(), b_.data(),  c_.data(),
                          d_.data(), y.data(),      x.shape[0],   x.shape[1],    x.shape[2], log_a.shape[1]};
    const DeviceArray<float> workspace(size_t(cuda::selective_scan_workspace(variant, scan)));
    cuda::selective_scan(device_stream(), variant, scan, workspace.data());
    return from_values(x.shape, y.values());
  }
};

}  // namespace

TEST_CASE("both forms of the scan agree with the CPU at awkward sizes") {
  for (const Case& size : {Case{1, 1, 1, 1}, {2, 63, 5, 3}, {1, 64, 33, 16}, {3, 65, 130, 4}, {2, 200, 129, 16}}) {
    CAPTURE(size.length);
    CAPTURE(size.channels);
    CAPTURE(size.states);
    const Inputs inputs(size);
    const Tensor want = inputs.on_host();
    for (const ScanVariant variant : {ScanVariant::plain, ScanVariant::chunked}) {
      CHECK(mismatch(inputs.on_device(variant), want, {4e-6, 8e-6}) == "");
    }
  }
}

TEST_CASE("in chunks a step has the bits that it has in a shorter sequence, and in any batch") {
  const Inputs all({2, 150, 40, 16});
  const Tensor whole = all.on_device(ScanVariant::chunked);
  for (const int64_t last : {1, 64, 65, 129}) {
    Inputs some = all;
    for (Tensor* x : {&some.x, &some.delta, &some.b, &some.c, &some.gate}) {
      *x = x->select(1).slice(0, last).reshape({1, last, x->shape[2]});
    }
    CHECK(mismatch(some.on_device(ScanVariant::chunked).select(0), whole.select(1).slice(0, last), {}) == "");
  }
}

TEST_CASE("a scan of more states than chunks hold is taken step by step, and of too many refused with the numbers") {
  const Inputs many({1, 70, 9, 17});
  CHECK(mismatch(many.on_device(ScanVariant::automatic), many.on_host(), {4e-6, 8e-6}) == "");
  cuda::Scan scan{};
  scan.batch = scan.length = scan.channels = 1;
  scan.states = 17;
  const cuda::Stream stream = device_stream();
  CHECK_THROWS_WITH_AS(cuda::selective_scan(stream, ScanVariant::chunked, scan, nullptr),
                       "selective_scan: 17 states, the chunked form holds up to 16", Error);
  scan.states = 1 << 20;
  CHECK_THROWS_WITH_AS(cuda::selective_scan(stream, ScanVariant::automatic, scan, nullptr),
                       doctest::Contains("1048576 states need 268435456 bytes of shared memory"), Error);
}
