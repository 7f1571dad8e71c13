// Private: what one call of the AMX convolution's loops computes.
// Holds plain declarations only, so that the file compiled for AMX shares no inline function with the others.
#pragma once

#include <cstdint>

#include "sat/tensor/ops/pending_norm.h"

namespace sat::cpu {

constexpr int64_t kAmxLanes = 32;            // channels of a tile row: bf16 on the way in, two f32 tiles on the way out
constexpr int64_t kAmxStep = 2 * 16 * 32;    // values of the weights' two tiles: 16 outputs x 16 pairs of inputs each
constexpr int64_t kAmxRows = 16;             // pixels of a tile
constexpr int64_t kAmxBlock = 3 * kAmxRows;  // pixels that are computed together

/// One of the inputs whose channels stand one behind the other.
struct AmxSource {
  const void* const* planes;  // [W, D, channels] each
  bool half;                  // f16; else f32
  int64_t channels, first;    // `first`: where these channels begin among all of them
  PendingNorm norm;
};

/// How the ring of normalised bf16 planes lies, in values. A plane holds a strip of rows, those of an even and those
/// of an odd number apart where the stride is 2; a strip holds blocks of up to 32 channels; a block holds the strip's
/// rows end to end, one zero pixel before each (and a second where an even line is needed), which is the padding.
struct AmxRing {
  int64_t pixel;                // 32, or fewer where three neighbouring pixels fit a tile row
  int64_t blocks, taps;         // steps of a kernel row: blocks of channels x 3 pixels, or one step for three pixels
  int64_t line;                 // pixels from a row to the next
  int64_t slots;                // planes: three that the kernel sees, and those that are taken meanwhile
  int64_t block, strip, plane;  // values from one to the next
  int64_t values;               // all of it
};

/// A strip of output rows, through some planes, for some blocks of 32 outputs.
struct AmxPiece {
  int64_t stride;         // 1 or 2
  int64_t in_size[3];     // H, W, D of the inputs
  int64_t out_pixels;     // D of the output
  AmxSource sources[2];   // the second has no channels where there is one
  uint16_t* ring_values;  // scratch of this piece
  AmxRing ring;
  const uint16_t* panels;  // [blocks of outputs][9][blocks of inputs][taps][2][16][32]
  int64_t panel_values;    // of one block of outputs
  int64_t panel_count;     // blocks of outputs in all
  int64_t first_plane, last_plane, first_row, last_row, first_block, last_block;
  void* const* planes;  // the output's, [W', D', out] each
  bool half;            // f16 results; else f32
  bool around_cache;    // results are not read soon: store them past the caches (needs aligned planes)
  int64_t out;
  double* moments;       // [planes of this slab][strips][mean or m2][out]: this strip's first
  int64_t moments_step;  // from a plane to the next
};

void amx_piece(const AmxPiece& piece);  // on the processor's tiles; only where amx_available()

}  // namespace sat::cpu
