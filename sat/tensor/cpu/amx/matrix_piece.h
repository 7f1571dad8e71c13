// Private: what one call of the loops of dense layers and of attention on AMX tiles computes.
// Holds plain declarations only, so that the file compiled for AMX shares no inline function with the others.
#pragma once

#include <cstdint>

#include "sat/tensor/cpu/amx/conv/piece.h"

namespace sat::cpu {

constexpr int64_t kAmxRowsStep = kAmxBlock * kAmxLanes;  // values of a block of 48 rows in a step of 32 inputs

/// A matrix product: some rows, for some blocks of 32 outputs.
struct AmxRows {
  const float* x;  // the first row; the others follow it
  int64_t rows, in, out;
  int64_t steps;           // of 32 inputs
  int64_t chunk;           // steps whose weights stay in the L1 cache
  const uint16_t* panels;  // [blocks of outputs][steps][2][16][32]
  int64_t first_block, last_block;
  uint16_t* rounded;  // scratch [blocks of 48 rows][steps][48][32]
  float* sums;        // scratch [2][blocks of 48 rows][48][32]
};

/// That of a dense layer.
struct AmxDense : AmxRows {
  float* y;                              // of the first row; so is residual
  const float *bias, *residual, *scale;  // null where there are none
  bool relu, gelu;
};

/// Blocks of 32 tokens and steps of 32 channels of a head, filled up with zeros.
struct AmxHeadSizes {
  int64_t blocks, steps;
};

/// One head's keys and values, on their way into tiles.
struct AmxHead {
  const float *k, *v;               // of the first token
  int64_t tokens, width, channels;  // `channels` from a token to the next
  AmxHeadSizes sizes;
  uint16_t *keys, *values;  // [blocks][steps][2][16][32], and [steps][blocks][2][16][32]
};

/// Up to 48 queries of one head.
struct AmxAttention {
  const float* q;  // of the first query; so is y
  float* y;
  int64_t queries, tokens, width, channels;
  AmxHeadSizes sizes;
  const uint16_t *keys, *values;
  float scale;         // of the products
  const float* added;  // [queries][blocks * 32], added to them once they are scaled; or null
  uint16_t* rounded;   // scratch [steps][48][32]
  float* scores;       // scratch [blocks][48][32]
  uint16_t* weights;   // scratch [blocks][48][32]
  float* results;      // scratch [48][32]
};

struct AmxUp;  // these: amx/voxels/voxel_piece.h
struct AmxScores;
struct AmxFewChannels;

/// The loops on tiles: the processor's, or ones that emulate its instructions.
struct AmxLoops {
  AmxConvLoops conv;
  void (*dense)(const AmxDense&);
  void (*head)(const AmxHead&);
  void (*attention)(const AmxAttention&);
  void (*up)(const AmxUp&);
  void (*scores)(const AmxScores&);
  void (*few_channels)(const AmxFewChannels&);
};
extern const AmxLoops kProcessorTiles;  // only where amx_available()

void amx_dense(const AmxDense& layer);  // on the processor's tiles, as amx_quads
void amx_head(const AmxHead& head);
void amx_attention(const AmxAttention& piece);

}  // namespace sat::cpu
