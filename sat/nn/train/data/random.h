// Private. Random numbers that are a function of what they are for: seed, step, item and purpose. No state is passed
// on, so they are the same whichever thread asks, in whatever order, and after a resume.
// Philox-4x32-10 (Salmon, Moraes, Dror and Shaw 2011); no relation to the streams of io/reports/uniform_stream.h.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <utility>
#include <vector>

namespace sat {

/// What a draw decides. The numbers are part of every draw: never change one, append.
enum class Purpose : uint8_t {
  entry = 0,            // which case a sample is cut from
  crop = 1,             // where
  structures = 2,       // which structures are asked for there
  zoom = 3,             // augmentation, one purpose a transform
  noise = 4,            //   whether, and how strong
  noise_field = 5,      //   every voxel's number
  sharpen = 6,          //
  scale = 7,            //
  contrast = 8,         //
  second_contrast = 9,  //
  weights = 10,         // first values of parameters; item: which parameter
  pairs = 11,           // knowledge pre-training: which pair, which side
  volume = 12,          //   which volume, which crop
  bootstrap = 13,       // resampling of scores
  dropout = 14,
};

/// 128 bits that are a function of key and counter.
inline std::array<uint32_t, 4> philox(std::array<uint32_t, 2> key, std::array<uint32_t, 4> counter) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t(0xD2511F53) * counter[0], b = uint64_t(0xCD9E8D57) * counter[2];
    counter = {uint32_t(b >> 32) ^ counter[1] ^ key[0], uint32_t(b), uint32_t(a >> 32) ^ counter[3] ^ key[1],
               uint32_t(a)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

/// The draws of one purpose, one after the other. `item` tells what shares a step apart: the place in the batch of all
/// processes together, a parameter's number. Two streams with another seed, step, item or purpose share no block.
class KeyedRandom {
 public:
  KeyedRandom(uint64_t seed, uint64_t step, uint32_t item, Purpose purpose)
      : key_{uint32_t(seed), uint32_t(seed >> 32)},
        counter_{0, uint32_t(step), item, uint32_t(step >> 32) << 8 | uint32_t(purpose)} {}

  uint32_t next32() {
    if (left_ == 0) {
      block_ = at(counter_[0]++);
      left_ = 4;
    }
    return block_[size_t(4 - left_--)];
  }
  uint64_t next64() {
    const uint64_t low = next32();
    return uint64_t(next32()) << 32 | low;
  }

  double uniform() { return double(next64() >> 11) * 0x1p-53; }  // in [0, 1)
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  /// A whole number in [0, count), 0 < count <= 2^53; the bias is below count / 2^53.
  int64_t below(int64_t count) { return int64_t(uniform() * double(count)); }
  /// From the standard normal distribution (Box and Muller 1958).
  double normal() {
    const double radius = std::sqrt(-2 * std::log(1 - uniform()));
    return radius * std::cos(2 * std::numbers::pi * uniform());
  }
  /// `some` different elements of a list in random order; all of them where there are not more.
  template <class T>
  std::vector<T> choose(std::vector<T> from, int64_t some) {
    const auto count = int64_t(from.size());
    if (some > count) some = count;
    for (int64_t i = 0; i < some; ++i) std::swap(from[size_t(i)], from[size_t(i + below(count - i))]);
    from.resize(size_t(some));
    return from;
  }

  /// Block `number` of this stream by itself, for loops that threads share; the calls above go through them in order.
  std::array<uint32_t, 4> at(uint32_t number) const {
    return philox(key_, {number, counter_[1], counter_[2], counter_[3]});
  }

 private:
  std::array<uint32_t, 2> key_;
  std::array<uint32_t, 4> counter_;
  std::array<uint32_t, 4> block_{};
  int left_ = 0;
};

}  // namespace sat
