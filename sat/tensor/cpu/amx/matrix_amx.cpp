// The loops of dense layers and of attention on the processor's tiles, with AVX-512 around them.
#include "sat/tensor/cpu/amx/attention_loops.h"
#include "sat/tensor/cpu/amx/dense_loops.h"
#include "sat/tensor/cpu/amx/tiles_amx.h"

namespace sat::cpu {
namespace {

struct MatrixUnit : ProcessorUnit {
  explicit MatrixUnit(const AmxDense&) : ProcessorUnit(TileConfiguration()) {}
  explicit MatrixUnit(const AmxAttention&) : ProcessorUnit(TileConfiguration()) {}
};

}  // namespace

void amx_dense(const AmxDense& layer) { run_dense<MatrixUnit>(layer); }
void amx_head(const AmxHead& head) { pack_head<MatrixUnit>(head); }
void amx_attention(const AmxAttention& piece) { run_attention<MatrixUnit>(piece); }

}  // namespace sat::cpu
