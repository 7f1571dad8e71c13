// Private: what one call of the AMX convolution's loops computes. There are three forms (conv.h says which is when):
// `lines` of pixels end to end, `quads` of four rows over a ring of planes, and quads over a `whole` volume.
// Holds plain declarations only, so that the file compiled for AMX shares no inline function with the others.
#pragma once

#include <cstdint>

#include "sat/tensor/cpu/amx/tile_configuration.h"
#include "sat/tensor/ops/pending_norm.h"

namespace sat::cpu {

constexpr int64_t kQuad = 4;                          // output rows that are computed together
constexpr int64_t kQuadTile = 16 * 32;                // values of one tile of weights
constexpr int64_t kQuadWeights = 9 * kQuadTile;       // of 16 outputs and 32 inputs under one plane tap
constexpr int64_t kQuadSums = kQuad * kAmxRows * 16;  // sums of a block: 4 rows x 16 pixels x 16 outputs

/// One of the inputs whose channels stand one behind the other.
struct AmxSource {
  const void* const* planes;  // [W, D, channels] each
  bool half;                  // f16; else f32
  int64_t channels, first;    // `first`: where these channels begin among all of them
  PendingNorm norm;
};

/// How normalised bf16 planes of a strip of rows lie. Rows whose numbers agree modulo `classes` make a class and lie
/// end to end, with one zero pixel before each (and a second where an even line is needed), which is the padding.
/// Steps are in values.
struct AmxRing {
  int64_t pixel;         // 32, or fewer where three neighbouring pixels fit a tile row
  int64_t blocks, taps;  // steps of a kernel row: blocks of channels x 3 pixels, or one step for three pixels
  int64_t line;          // pixels from a row of a class to the next
  int64_t classes;
  int64_t slots, first_plane;  // planes there is room for; the plane in slot 0, `slots` later ones follow it round
  int64_t plane_step, class_step, block_step;
  int64_t values;  // all of it
};

/// A strip of output rows, through some planes, for some blocks of 32 outputs.
struct AmxPiece {
  int64_t stride;         // 1 or 2
  int64_t in_size[3];     // H, W, D of the inputs
  int64_t out_pixels;     // D of the output
  AmxSource sources[2];   // the second has no channels where there is one
  uint16_t* ring_values;  // scratch of this piece; of the form `whole`, made by amx_take
  AmxRing ring;
  const uint16_t* panels;  // lines: [blocks of outputs][9][blocks of inputs][taps][2][16][32]
                           // quads and whole: [blocks of 16 outputs][3][blocks of inputs][3][3][16][32]
  int64_t panel_values;    // of one of these blocks of outputs
  int64_t panel_count;     // such blocks in all
  int64_t first_plane, last_plane, first_row, last_row, first_block, last_block;
  void* const* planes;  // the output's, [W', D', out] each
  bool half;            // f16 results; else f32
  bool around_cache;    // results are not read soon: store them past the caches (needs aligned planes)
  int64_t out;
  double* moments;       // [planes of this slab][strips][mean or m2][out]: this strip's first
  int64_t moments_step;  // from a plane to the next
  int64_t whole_blocks;  // whole: tiles of pixels of a class
  float* sums;           // whole: scratch [2][4 classes][whole_blocks][16 pixels][16], of 32 outputs
  int64_t chunk;         // whole: blocks of inputs whose weights stay in the L2 cache
};

/// The loops of the convolution on tiles.
struct AmxConvLoops {
  void (*lines)(const AmxPiece&);
  void (*quads)(const AmxPiece&);
  void (*take)(const AmxPiece&);  // normalises input planes [first_plane, last_plane) into the ring
  void (*whole)(const AmxPiece&);
};

void amx_lines(const AmxPiece& piece);  // on the processor's tiles; only where amx_available()
void amx_quads(const AmxPiece& piece);
void amx_take(const AmxPiece& piece);
void amx_whole(const AmxPiece& piece);

}  // namespace sat::cpu
