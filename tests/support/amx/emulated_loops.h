// The loops on tiles in portable C++, for machines without matrix units.
#pragma once

#include "sat/tensor/cpu/amx/matrix_piece.h"
#include "sat/tensor/cpu/amx/piece.h"

namespace sat::cpu {

/// amx_piece (piece.h) with every tile instruction as the manual defines it. Slow, the same bits.
void amx_piece_emulated(const AmxPiece& piece);

/// The same of all loops.
extern const AmxLoops kEmulatedTiles;

}  // namespace sat::cpu
