// The loops of the first convolution, the transposed convolution and mask scores on the processor's tiles.
#include "sat/tensor/cpu/amx/tiles_amx.h"
#include "sat/tensor/cpu/amx/voxels/few_channels_loops.h"
#include "sat/tensor/cpu/amx/voxels/row_ends.h"

namespace sat::cpu {
namespace {

/// Where the values of 32 records come from: 10 vectors, each from 9 rows.
struct Interleaving {
  alignas(64) uint16_t place[kAmxRecord][kAmxLanes] = {};  // in the row
  uint32_t lanes[kAmxRecord][kAmxRecord] = {};             // of a vector that a row fills

  constexpr Interleaving() {
    for (int64_t i = 0; i < kAmxRecord * kAmxLanes; ++i) {
      place[i / kAmxLanes][i % kAmxLanes] = uint16_t(i / kAmxRecord);
      lanes[i / kAmxLanes][i % kAmxRecord] |= uint32_t(1) << i % kAmxLanes;
    }
  }
};
constexpr Interleaving kInterleaving;

class VoxelUnit : public ProcessorUnit {
 public:
  explicit VoxelUnit(const AmxUp& piece) : ProcessorUnit(TileConfiguration()), around_cache_(piece.around_cache) {}
  explicit VoxelUnit(const AmxScores&) : ProcessorUnit(TileConfiguration()), around_cache_(false) {}
  explicit VoxelUnit(const AmxFewChannels& piece)
      : ProcessorUnit(tiles_of_records()), around_cache_(piece.around_cache) {}
  ~VoxelUnit() {
    if (around_cache_) _mm_sfence();
  }

  /// 32 records of the next 32 values of nine rows.
  static void interleave(uint16_t* to, const uint16_t* const* from) {
    constexpr int kRows = kAmxRecord - 1;
    __m512i row[kRows];
    for (int i = 0; i < kRows; ++i) row[i] = _mm512_loadu_si512(from[i]);
    for (int64_t v = 0; v < kAmxRecord; ++v) {
      const __m512i place = _mm512_load_si512(kInterleaving.place[v]);
      __m512i values = _mm512_maskz_permutexvar_epi16(kInterleaving.lanes[v][0], place, row[0]);
      for (int i = 1; i < kRows; ++i) {
        values = _mm512_mask_permutexvar_epi16(values, kInterleaving.lanes[v][i], place, row[i]);
      }
      _mm512_storeu_si512(to + v * kAmxLanes, values);
    }
  }

 private:
  bool around_cache_;
};

}  // namespace

void amx_up(const AmxUp& piece) { run_up<VoxelUnit>(piece); }
void amx_scores(const AmxScores& piece) { run_scores<VoxelUnit>(piece); }
void amx_few_channels(const AmxFewChannels& piece) { run_few_channels<VoxelUnit>(piece); }

}  // namespace sat::cpu
