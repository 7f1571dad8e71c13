// Tensors, memory and threads: the claims of sat/tensor/{tensor,memory,parallel,weights}.h.
#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <limits>

#include "sat/tensor/context.h"
#include "sat/tensor/memory/memory.h"
#include "sat/tensor/parallel.h"
#include "sat/tensor/tensor.h"
#include "sat/tensor/weights.h"

using namespace sat;

namespace {
ContextOptions options(int threads, int64_t max_bytes) {
  ContextOptions chosen;
  chosen.threads = threads;
  chosen.max_bytes = max_bytes;
  return chosen;
}
}  // namespace

TEST_CASE("a leading slice shares its bytes and a clone does not") {
  const Tensor x = from_values({2, 3}, {1, 2, 3, 4, 5, 6});
  x.select(1).data<float>()[2] = 60;
  CHECK(x.data<float>()[5] == 60);
  Tensor copy = x.clone();
  copy.data<float>()[0] = 10;
  CHECK(x.data<float>()[0] == 1);
  CHECK_THROWS_WITH_AS(x.slice(1, 3), doctest::Contains("slice [1, 3) of a tensor of shape [2, 3]"), Error);
  CHECK_THROWS_WITH_AS(x.data<int32_t>(), doctest::Contains("is f32, asked for as i32"), Error);
}

TEST_CASE("a shape whose elements do not fit 64 bits is refused") {
  const int64_t large = int64_t(1) << 40;
  CHECK_THROWS_WITH_AS(Shape({large, large}).numel(), doctest::Contains("too many elements"), Error);
  CHECK_THROWS_AS(Shape({1, 1, 1, 1, 1, 1, 1}), Error);
  CHECK_THROWS_AS(Shape({-1}), Error);
}

TEST_CASE("bf16 and f16 round to nearest even and survive a round trip") {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = uint16_t(bits);
    const float as_f16 = to_float(f16{half}), as_bf16 = to_float(bf16{half});
    if (!std::isnan(as_f16)) CHECK(to_f16(as_f16).bits == half);
    if (!std::isnan(as_bf16)) CHECK(to_bf16(as_bf16).bits == half);
  }
  CHECK(to_f16(65519.f).bits == 0x7BFF);
  CHECK(to_f16(65520.f).bits == 0x7C00);
  CHECK(to_f16(1.f + 0x1p-11f).bits == to_f16(1.f).bits);  // a tie goes to the even neighbour
  CHECK(to_f16(1.f + 3 * 0x1p-11f).bits == to_f16(1.f).bits + 2);
  CHECK(to_bf16(1.f + 0x1p-8f).bits == to_bf16(1.f).bits);
  CHECK(std::isnan(to_float(to_bf16(std::numeric_limits<float>::quiet_NaN()))));
}

TEST_CASE("memory counts live and peak bytes, and kept blocks never raise the peak") {
  Context context(options(1, 0));
  UseContext use(context);
  const auto& memory = context.memory();
  {
    const Tensor a({1 << 20});
    CHECK(memory->live_bytes() == 4 << 20);
  }
  { const Tensor b({3 << 20}, DType::u8); }
  { const Tensor c({1 << 20}); }
  CHECK(memory->live_bytes() == 0);
  CHECK(memory->peak_bytes() == 4 << 20);
}

TEST_CASE("a cap is obeyed with a sentence that holds the numbers") {
  Context context(options(1, 1 << 20));
  UseContext use(context);
  const Tensor fits({1 << 19}, DType::u8);
  CHECK_THROWS_WITH_AS(Tensor({1 << 20}, DType::u8),
                       "out of tensor memory: 1048576 more bytes asked for, 524288 in use, the cap is 1048576", Error);
}

TEST_CASE("every piece runs once, whatever the thread count, and an exception comes back") {
  for (int threads : {1, 2, 3, 8}) {
    Context context(options(threads, 0));
    UseContext use(context);
    std::vector<int> seen(1000, 0);
    parallel_for(1000, 7, [&](int64_t first, int64_t last) {
      parallel_for(last - first, 2, [&](int64_t a, int64_t b) {  // nested: serial
        for (int64_t i = a; i < b; ++i) ++seen[size_t(first + i)];
      });
    });
    CHECK(std::count(seen.begin(), seen.end(), 1) == 1000);
    CHECK_THROWS_WITH_AS(parallel_for(100, 1, [](int64_t i, int64_t) { SAT_CHECK(i != 50, "fifty"); }), "fifty", Error);
  }
}

TEST_CASE("weights are asked for by name and shape, and leftovers are reported") {
  const Weights w =
      Weights::from_tensors({{"a.conv.weight", zeros({2, 3})}, {"a.conv.bias", zeros({2})}, {"b", zeros({1})}});
  CHECK((w / "a" / "conv").get("weight", {2, 3}).shape == Shape({2, 3}));
  CHECK_THROWS_WITH_AS((w / "a" / "conv").get("bias", {3}),
                       "memory: tensor 'a.conv.bias' has shape [2], the model needs [3]", Error);
  CHECK_THROWS_WITH_AS(w.get("c", {3}), "memory: tensor 'c' of shape [3] is missing", Error);
  CHECK((w / "a").has_any());
  CHECK_FALSE((w / "co").has_any());
  CHECK(w.never_read() == std::vector<std::string>{"a.conv.bias", "b"});
  w.ignore("b");
  CHECK(w.never_read() == std::vector<std::string>{"a.conv.bias"});
}

TEST_CASE("a dry context counts what would be needed and computes nothing") {
  ContextOptions counting = options(1, 0);
  counting.dry = true;
  Context context(counting);
  UseContext use(context);
  const int64_t terabyte = int64_t(1) << 40;
  const Tensor x = zeros({terabyte}, DType::u8);
  const Weights whatever = Weights::made([](const std::string&, const Shape& shape) { return Tensor(shape); });
  const Tensor y = (whatever / "any").get("thing", {terabyte / 4});
  CHECK(context.memory()->peak_bytes() == 2 * terabyte);
  parallel_for(10, 1, [](int64_t, int64_t) { FAIL("a loop ran"); });
}

TEST_CASE("a cancelled context stops the next op") {
  ContextOptions stopping = options(2, 0);
  stopping.cancelled = [] { return true; };
  Context context(stopping);
  UseContext use(context);
  CHECK_THROWS_AS(parallel_for(10, 1, [](int64_t, int64_t) {}), Cancelled);
}
