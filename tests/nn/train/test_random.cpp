// Random numbers that are a function of what they are for: the published generator, and no stream shared.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "sat/nn/train/data/random.h"

using namespace sat;

TEST_CASE("the generator gives the published known answers") {
  using Words = std::array<uint32_t, 4>;
  CHECK(philox({0, 0}, {0, 0, 0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox({~0u, ~0u}, {~0u, ~0u, ~0u, ~0u}) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0xa4093822, 0x299f31d0}, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("streams of another seed, step, item or purpose are other numbers, and one asked for again is the same") {
  std::set<uint64_t> seen;
  for (uint64_t seed : {uint64_t(0), uint64_t(1), uint64_t(1) << 40}) {
    for (uint64_t step : {uint64_t(0), uint64_t(7), uint64_t(1) << 33}) {
      for (uint32_t item : {0u, 3u}) {
        for (Purpose purpose : {Purpose::entry, Purpose::crop, Purpose::dropout}) {
          KeyedRandom draws(seed, step, item, purpose), again(seed, step, item, purpose);
          for (int i = 0; i < 5; ++i) {
            const uint64_t value = draws.next64();
            CHECK(again.next64() == value);
            CHECK(seen.insert(value).second);
          }
        }
      }
    }
  }
}

TEST_CASE("uniform, whole and normal draws have the moments of their distributions") {
  KeyedRandom draws(5, 1, 0, Purpose::noise);
  const int count = 20000;
  double sum = 0, normal_sum = 0, squares = 0;
  std::vector<int> hits(6);
  for (int i = 0; i < count; ++i) {
    const double u = draws.uniform();
    CHECK((u >= 0 && u < 1));
    sum += u;
    const double z = draws.normal();
    normal_sum += z;
    squares += z * z;
    ++hits[size_t(draws.below(6))];
  }
  CHECK(std::fabs(sum / count - 0.5) < 0.01);
  CHECK(std::fabs(normal_sum / count) < 0.03);
  CHECK(std::fabs(squares / count - 1) < 0.04);
  for (int hit : hits) CHECK(std::abs(hit - count / 6) < 200);
}

TEST_CASE("a choice has the number asked for, each element at most once, and can be all of them") {
  KeyedRandom draws(5, 1, 0, Purpose::structures);
  const std::vector<int> from{4, 8, 15, 16, 23, 42};
  const std::vector<int> some = draws.choose(from, 4);
  CHECK(some.size() == 4);
  CHECK(std::set<int>(some.begin(), some.end()).size() == 4);
  std::vector<int> all = draws.choose(from, 9);
  std::sort(all.begin(), all.end());
  CHECK(all == from);
}
