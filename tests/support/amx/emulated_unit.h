// A Unit for the loops on tiles in portable C++: tiles, and the rounding of the vector instructions around them, as the
// manual defines them. For tests and for reading; it is slow.
#pragma once

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <vector>

#include "sat/tensor/cpu/amx/conv/piece.h"
#include "sat/tensor/cpu/amx/tile_configuration.h"
#include "sat/tensor/error.h"
#include "sat/tensor/half.h"
#include "sat/tensor/tensor.h"

namespace sat::cpu {
namespace {

/// Tile arithmetic neither reads nor makes denormal numbers. Plain comparisons, so that loops over it are vectorised.
float flushed(float value) { return value < FLT_MIN && value > -FLT_MIN ? 0.f : value; }
float from_bits(uint16_t bits) { return flushed(to_float(bf16{bits})); }

/// The eight tiles of a thread, and their instructions; what the processor would refuse throws.
class Tiles {
 public:
  void configure(const TileConfiguration& from) {
    uint8_t bytes[64];
    static_assert(sizeof from == sizeof bytes);
    std::memcpy(bytes, &from, sizeof bytes);
    SAT_CHECK(bytes[0] == 1, "tile configuration: palette ", int(bytes[0]), ", needs 1");
    SAT_CHECK(bytes[1] == 0, "tile configuration: start row ", int(bytes[1]));
    for (int i = 2; i < 16; ++i) SAT_CHECK(bytes[i] == 0, "tile configuration: byte ", i, " is reserved");
    for (int i = 0; i < 16; ++i) {
      const int row_bytes = bytes[16 + 2 * i] + 256 * bytes[17 + 2 * i], rows = bytes[48 + i];
      SAT_CHECK(row_bytes <= (i < 8 ? 64 : 0) && rows <= (i < 8 ? 16 : 0) && (row_bytes > 0) == (rows > 0),
                "tile configuration: tile ", i, " has ", rows, " rows of ", row_bytes, " bytes");
      if (i < 8) tiles_[i] = {rows, row_bytes, {}};
    }
  }

  /// From a tile's first byte in memory to behind its last.
  int64_t bytes(int tile, int64_t row_bytes) {
    const Tile& t = used(tile);
    return (t.rows - 1) * row_bytes + t.row_bytes;
  }

  void zero(int tile) { std::memset(used(tile).bytes, 0, sizeof Tile::bytes); }

  void load(int tile, const void* from, int64_t row_bytes) {
    Tile& t = used(tile);
    std::memset(t.bytes, 0, sizeof t.bytes);
    for (int r = 0; r < t.rows; ++r) {
      std::memcpy(t.bytes[r], static_cast<const char*>(from) + r * row_bytes, size_t(t.row_bytes));
    }
  }

  void store(int tile, void* to, int64_t row_bytes) {
    const Tile& t = used(tile);
    for (int r = 0; r < t.rows; ++r) {
      std::memcpy(static_cast<char*>(to) + r * row_bytes, t.bytes[r], size_t(t.row_bytes));
    }
  }

  /// tdpbf16ps. Products with even and with odd partners add up apart, each in order from zero by fused
  /// multiply-adds, then meet, then join the sum. A product of two bf16 is exact in f32, so that multiplying and then
  /// adding rounds like the fused form.
  void dot(int sum, int a, int b) {
    Tile &c = used(sum), &x = used(a), &y = used(b);
    SAT_CHECK(sum != a && sum != b && a != b, "tile product: tiles ", sum, ", ", a, " and ", b, " must differ");
    SAT_CHECK(x.rows == c.rows && y.row_bytes == c.row_bytes && x.row_bytes == 4 * y.rows && c.row_bytes % 4 == 0,
              "tile product: shapes do not fit");
    float partner[2][16][16] = {};  // of y: even or odd, row, column
    for (int k = 0; k < y.rows; ++k) {
      uint16_t pairs[32];
      std::memcpy(pairs, y.bytes[k], sizeof pairs);
      for (int n = 0; n < 16; ++n) {
        for (int e = 0; e < 2; ++e) partner[e][k][n] = from_bits(pairs[2 * n + e]);
      }
    }
    for (int m = 0; m < c.rows; ++m) {
      uint16_t pairs[32];
      std::memcpy(pairs, x.bytes[m], sizeof pairs);
      float apart[2][16] = {}, result[16];
      for (int k = 0; k < y.rows; ++k) {
        for (int e = 0; e < 2; ++e) {
          const float value = from_bits(pairs[2 * k + e]);
          for (int n = 0; n < 16; ++n) apart[e][n] = flushed(apart[e][n] + value * partner[e][k][n]);
        }
      }
      std::memcpy(result, c.bytes[m], sizeof result);
      for (int n = 0; n < 16; ++n) result[n] = flushed(flushed(result[n]) + flushed(apart[0][n] + apart[1][n]));
      std::memset(c.bytes[m], 0, sizeof c.bytes[m]);
      std::memcpy(c.bytes[m], result, size_t(c.row_bytes));
    }
  }

 private:
  struct Tile {
    int rows = 0, row_bytes = 0;
    uint8_t bytes[16][64] = {};
  };

  Tile& used(int tile) {
    Tile& t = tiles_[tile];
    SAT_CHECK(t.rows > 0, "tile ", tile, " is not configured");
    return t;
  }

  Tile tiles_[8];
};

/// 16 floats, with the rounding of the AVX-512 instructions that conv_amx.cpp uses.
struct Lanes {
  float lane[16];
};

template <class Function>
Lanes lanewise(Function function) {
  Lanes result;
  for (int i = 0; i < 16; ++i) result.lane[i] = function(i);
  return result;
}

/// A Unit as ProcessorUnit is one. Tiles are loaded and sums are kept only where a test of loops said they may be.
class EmulatedUnit {
 public:
  using Vector = Lanes;

  explicit EmulatedUnit(const TileConfiguration& configuration) { tiles_.configure(configuration); }
  void may_touch(const void* first, int64_t bytes) {
    ranges_.push_back({static_cast<const char*>(first), static_cast<const char*>(first) + bytes});
  }

  template <int Count>
  void zero_tiles() {
    for (int tile = 0; tile < Count; ++tile) tiles_.zero(tile);
  }
  template <int Tile>
  void load_tile(const void* from, int64_t row_bytes) {
    check_place(from, tiles_.bytes(Tile, row_bytes));
    tiles_.load(Tile, from, row_bytes);
  }
  template <int Sum, int A, int B>
  void dot() {
    tiles_.dot(Sum, A, B);
  }
  template <int Tile>
  void store_tile(float* to, int64_t row_bytes) {
    tiles_.store(Tile, to, row_bytes);
  }
  template <int M, int N>
  void store_tiles(float* sums) {
    for (int tile = 0; tile < M * N; ++tile) {
      tiles_.store(tile, sums + place_of_sum(tile, M), kSumBytes);
    }
  }
  template <int M, int N>
  void load_sums(const float* sums) {
    for (int tile = 0; tile < M * N; ++tile) {
      const float* from = sums + place_of_sum(tile, M);
      check_place(from, tiles_.bytes(tile, kSumBytes));
      tiles_.load(tile, from, kSumBytes);
    }
  }

  template <int Lines>
  static void fetch(const char*) {}
  static void fetch_far(uintptr_t) {}

  static Vector all(float value) {
    return lanewise([&](int) { return value; });
  }
  static Vector load(const float* from) {
    return lanewise([&](int i) { return from[i]; });
  }
  static void store(float* to, const Vector& value) { std::memcpy(to, value.lane, sizeof value.lane); }
  static Vector add(const Vector& a, const Vector& b) {
    return lanewise([&](int i) { return a.lane[i] + b.lane[i]; });
  }
  static Vector subtract(const Vector& a, const Vector& b) {
    return lanewise([&](int i) { return a.lane[i] - b.lane[i]; });
  }
  static Vector multiply(const Vector& a, const Vector& b) {
    return lanewise([&](int i) { return a.lane[i] * b.lane[i]; });
  }
  static Vector divide(const Vector& a, const Vector& b) {
    return lanewise([&](int i) { return a.lane[i] / b.lane[i]; });
  }
  static Vector multiply_add(const Vector& a, const Vector& b, const Vector& c) {
    return lanewise([&](int i) { return std::fma(a.lane[i], b.lane[i], c.lane[i]); });
  }
  static Vector larger(const Vector& a, const Vector& b) {
    return lanewise([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  static Vector smaller(const Vector& a, const Vector& b) {
    return lanewise([&](int i) { return a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  static Vector nearest(const Vector& a) {
    return lanewise([&](int i) { return std::nearbyint(a.lane[i]); });
  }
  static Vector times_power(const Vector& a, const Vector& n) {
    return lanewise([&](int i) { return n.lane[i] < -126.f ? 0.f : a.lane[i] * std::exp2(n.lane[i]); });
  }
  static Vector leaky(const Vector& value, const Vector& slope) {
    return lanewise([&](int i) { return value.lane[i] < 0 ? value.lane[i] * slope.lane[i] : value.lane[i]; });
  }

  template <bool Half>
  static Vector take(uintptr_t from, uint32_t lanes) {
    return lanewise([&](int i) {
      if (!(lanes >> i & 1)) return 0.f;
      if constexpr (Half) return to_float(reinterpret_cast<const f16*>(from)[i]);
      return reinterpret_cast<const float*>(from)[i];
    });
  }
  static void round(uint16_t* to, const Vector& low, const Vector& high, uint32_t lanes) {
    for (int i = 0; i < 32; ++i) {
      const float value = i < 16 ? low.lane[i] : high.lane[i - 16];
      if (lanes >> i & 1) to[i] = rounded(value);
    }
  }
  static void pairs(uint16_t* to, const Vector& a, const Vector& b) {
    for (int i = 0; i < 16; ++i) {
      to[2 * i] = rounded(a.lane[i]);
      to[2 * i + 1] = rounded(b.lane[i]);
    }
  }
  static void put(void* to, const Vector& low, const Vector& high, uint32_t lanes, bool half, bool) {
    for (int i = 0; i < 32; ++i) {
      const float value = i < 16 ? low.lane[i] : high.lane[i - 16];
      if (!(lanes >> i & 1)) continue;
      if (half) {
        static_cast<f16*>(to)[i] = to_f16(std::clamp(value, -kLargestF16, kLargestF16));
      } else {
        static_cast<float*>(to)[i] = value;
      }
    }
  }

 private:
  static constexpr int64_t kSumBytes = kAmxLanes * int64_t(sizeof(float));  // from a row of sums to the next

  static int64_t place_of_sum(int tile, int M) { return tile % M * kAmxRows * kAmxLanes + tile / M * 16; }
  static uint16_t rounded(float value) {
    return to_bf16(std::fabs(value) < FLT_MIN ? std::copysign(0.f, value) : value).bits;
  }

  void check_place(const void* from, int64_t bytes) const {
    const auto* first = static_cast<const char*>(from);
    const auto holds = [&](const Range& range) { return first >= range.first && first + bytes <= range.last; };
    SAT_CHECK(std::any_of(ranges_.begin(), ranges_.end(), holds), "tile load outside of what the loops were given");
  }

  struct Range {
    const char *first, *last;
  };
  std::vector<Range> ranges_;
  Tiles tiles_;
};

}  // namespace
}  // namespace sat::cpu
