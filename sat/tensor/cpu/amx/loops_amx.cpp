// The AMX convolution's loops on the processor's tiles, with AVX-512 around them.
#include "sat/tensor/cpu/amx/loops.h"
#include "sat/tensor/cpu/amx/tiles_amx.h"

namespace sat::cpu {
namespace {

class AmxUnit : public ProcessorUnit {
 public:
  explicit AmxUnit(const AmxPiece& piece) : ProcessorUnit(tiles_for(piece.ring)), around_cache_(piece.around_cache) {}
  ~AmxUnit() {
    if (around_cache_) _mm_sfence();
  }

 private:
  bool around_cache_;
};

}  // namespace

void amx_piece(const AmxPiece& piece) { run_piece<AmxUnit>(piece); }

}  // namespace sat::cpu
