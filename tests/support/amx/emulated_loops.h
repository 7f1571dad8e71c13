// The loops on tiles in portable C++, for machines without matrix units.
#pragma once

#include "sat/tensor/cpu/amx/matrix_piece.h"

namespace sat::cpu {

/// The loops with every tile instruction as the manual defines it. Slow, the same bits.
extern const AmxLoops kEmulatedTiles;

}  // namespace sat::cpu
