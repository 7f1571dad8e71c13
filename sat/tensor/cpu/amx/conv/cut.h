// Private: which form a convolution on AMX tiles takes, how its input lies in the ring, and where its work is cut. All
// of it follows from sizes alone, so that results do not depend on the threads.
#pragma once

#include <array>
#include <cstdint>

#include "sat/tensor/cpu/amx/conv/piece.h"

namespace sat::cpu {

enum class AmxForm : uint8_t {
  lines,  // stride 2, and pixels of up to 10 channels
  quads,  // a ring of planes, strip by strip
  whole   // a normalised slab that is small enough to be kept
};

/// H, W, D of the input, and of the output's rows W' and pixels D'.
struct AmxSizes {
  std::array<int64_t, 3> in_size, out_size;
  int64_t stride, in, out;
};

struct AmxCut {
  AmxForm form;
  AmxRing ring;            // whole: with slots for `planes` output planes
  int64_t rows, strips;    // output rows of a strip
  int64_t blocks, groups;  // blocks of 32 outputs of a group
  int64_t chunk;           // whole: blocks of inputs
};

/// For a slab of so many output planes. `whole`: the form, where strides and channels let it be chosen.
AmxCut amx_cut(const AmxSizes& sizes, int64_t planes, bool whole);

/// Whether the weights of 32 outputs crowd out a ring of the input's planes in the L2 cache.
bool amx_whole_pays(int64_t in);

/// Of a volume in the form `whole`.
int64_t amx_whole_bytes(const std::array<int64_t, 3>& in_size, int64_t in);

/// Few channels: a tile row of 32 values holds three pixels. The pixels' distance is even, as values go in pairs.
bool amx_narrow(int64_t in);

/// Tiles of pixels of a class, of `planes` output planes of the form `whole`.
int64_t amx_whole_blocks(const AmxCut& cut, int64_t planes);

}  // namespace sat::cpu
