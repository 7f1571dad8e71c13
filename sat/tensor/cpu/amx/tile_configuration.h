// Private. What ldtilecfg reads, the sizes of the eight tiles, and what they hold of a product.
// Holds plain declarations only, so that files compiled for AMX share no inline function with the others.
#pragma once

#include <cstdint>

namespace sat::cpu {

constexpr int64_t kAmxLanes = 32;            // channels of a tile row: bf16 on the way in, two f32 tiles on the way out
constexpr int64_t kAmxStep = 2 * 16 * 32;    // values of the weights' two tiles: 16 outputs x 16 pairs of inputs each
constexpr int64_t kAmxRows = 16;             // pixels of a tile
constexpr int64_t kAmxBlock = 3 * kAmxRows;  // pixels, or rows of a matrix, that are computed together

/// All eight tiles whole: 16 rows of 64 bytes.
struct alignas(64) TileConfiguration {
  uint8_t palette = 1, start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

}  // namespace sat::cpu
