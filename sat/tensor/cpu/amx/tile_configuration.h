// Private. What ldtilecfg reads: the sizes of the eight tiles.
// Holds a plain struct only, so that files compiled for AMX share no inline function with the others.
#pragma once

#include <cstdint>

namespace sat::cpu {

/// All eight tiles whole: 16 rows of 64 bytes.
struct alignas(64) TileConfiguration {
  uint8_t palette = 1, start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

}  // namespace sat::cpu
