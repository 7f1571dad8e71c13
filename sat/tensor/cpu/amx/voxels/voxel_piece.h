// Private: what one call of the loops on AMX tiles computes of the voxel-wise ends of a network: its first convolution,
// the transposed convolution, and mask scores.
// Holds plain declarations only, so that the file compiled for AMX shares no inline function with the others.
#pragma once

#include <cstdint>

#include "sat/tensor/cpu/amx/matrix_piece.h"

namespace sat::cpu {

/// A transposed convolution of kernel 2 and stride 2: rows are voxels, outputs the 2 x 2 x 2 that each becomes.
struct AmxUp : AmxRows {
  char* const* places[2];  // of each row: where the first corner's results go in either plane
  int64_t offsets[4];      // bytes from there to the corners of a plane
  int64_t corner;          // outputs of a corner, a multiple of 32
  const float* bias;       // [corner], or null
  bool half, around_cache;
};

/// scores += importance * tanh(logits / 2): rows are voxels, outputs prompts.
struct AmxScores : AmxRows {
  float* const* places;  // of each row's scores
  const float* importance;
};

constexpr int64_t kAmxRecord = 10;   // values of a record, the last of them zero
constexpr int64_t kAmxMostGrey = 3;  // channels

/// A 3x3x3 convolution of up to three channels: some lines of output voxels, up to 64 outputs.
struct AmxFewChannels {
  const float* strip;       // [3][rows][voxels + 2][channels]: the input around them
  int64_t rows;             // lines + 2 at least
  int64_t channels, steps;  // one step holds 27 taps of one channel, or three of them 9 each of up to three channels
  int64_t lines, voxels;
  const uint16_t* panels;  // [blocks of 32 outputs][steps][2][16][32]
  int64_t outputs;
  int64_t row;        // values of a rounded row: `voxels` to whole tiles and two more, to whole vectors
  uint16_t* rounded;  // scratch [3][rows][channels][row], and a row of zeros
  uint16_t* records;  // scratch [steps][row][10]
  char* to;           // the first voxel's first result
  int64_t out;        // results from a voxel to the next
  bool half, around_cache;
  float* base;             // [outputs]: set to the first voxel's results
  double *sums, *squares;  // [outputs]: added to, of what results differ from it
};

void amx_up(const AmxUp& piece);  // on the processor's tiles, as amx_piece
void amx_scores(const AmxScores& piece);
void amx_few_channels(const AmxFewChannels& piece);

}  // namespace sat::cpu
