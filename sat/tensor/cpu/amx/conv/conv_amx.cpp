// The AMX convolution's loops on the processor's tiles, with AVX-512 around them.
#include "sat/tensor/cpu/amx/conv/line_loops.h"
#include "sat/tensor/cpu/amx/conv/quad_loops.h"
#include "sat/tensor/cpu/amx/conv/whole_loops.h"
#include "sat/tensor/cpu/amx/tiles_amx.h"

namespace sat::cpu {
namespace {

class AmxUnit : public ProcessorUnit {
 public:
  AmxUnit(const TileConfiguration& tiles, const AmxPiece& piece)
      : ProcessorUnit(tiles), around_cache_(piece.around_cache) {}
  ~AmxUnit() {
    if (around_cache_) _mm_sfence();
  }

 private:
  bool around_cache_;
};

}  // namespace

void amx_lines(const AmxPiece& piece) { run_lines<AmxUnit>(piece); }
void amx_quads(const AmxPiece& piece) { run_quads<AmxUnit>(piece); }
void amx_take(const AmxPiece& piece) { run_take<AmxUnit>(piece); }
void amx_whole(const AmxPiece& piece) { run_whole<AmxUnit>(piece); }

}  // namespace sat::cpu
