// Tensors, memory and threads: the claims of sat/tensor/{tensor,memory,parallel,weights}.h.
#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "sat/tensor/context.h"
#include "sat/tensor/convert.h"
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

TEST_CASE("rows of bf16 and f16 convert to the bits that one number at a time gives, at every level") {
  std::vector<float> values;
  for (uint32_t upper = 0; upper < 0x10000; ++upper) {
    // Every sign and exponent, and about what either type rounds at: below, on and above a tie.
    for (uint32_t lower : {0u, 1u, 0x0FFFu, 0x1000u, 0x1001u, 0x2000u, 0x3000u, 0x7FFFu, 0x8000u, 0x8001u, 0xFFFFu}) {
      const uint32_t bits = upper << 16 | lower;
      float value;
      std::memcpy(&value, &bits, sizeof value);
      values.push_back(value);
    }
  }
  std::vector<uint16_t> halves(0x10000);
  std::iota(halves.begin(), halves.end(), uint16_t(0));
  for (CpuLevel level : {CpuLevel::plain, best_cpu_level()}) {
    Context context({1, 0, level, {}});
    const UseContext use(context);
    int wrong = 0;
    const auto row = [&](auto narrow, auto to_narrow) {
      using Half = decltype(narrow);
      const auto* from = reinterpret_cast<const Half*>(halves.data());
      std::vector<float> wide(halves.size());
      convert_row(wide.data(), from, int64_t(wide.size()));
      for (size_t i = 0; i < wide.size(); ++i) {
        const float one = to_float(from[i]);
        wrong += std::memcmp(&one, &wide[i], sizeof one) != 0;
      }
      std::vector<Half> rounded(values.size());
      convert_row(rounded.data(), values.data(), int64_t(values.size()));
      for (size_t i = 0; i < values.size(); ++i) wrong += to_narrow(values[i]).bits != rounded[i].bits;
      for (int64_t count = 0; count < 20; ++count) {  // what does not fill a vector, and nothing behind it
        std::vector<Half> some(20, Half{7});
        std::vector<float> back(20, 7);
        convert_row(some.data(), values.data() + 70000, count);
        convert_row(back.data(), from + 16000, count);
        for (int64_t i = 0; i < 20; ++i) {
          wrong += some[size_t(i)].bits != (i < count ? to_narrow(values[size_t(70000 + i)]).bits : 7);
          wrong += back[size_t(i)] != (i < count ? to_float(from[16000 + i]) : 7);
        }
      }
    };
    row(f16(), to_f16);
    row(bf16(), to_bf16);
    CAPTURE(name_of(level));
    CHECK(wrong == 0);
  }
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
