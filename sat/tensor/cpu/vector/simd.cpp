// The choice of the hot loops' form.
#include "sat/tensor/cpu/vector/simd.h"

#include "sat/tensor/context.h"

namespace sat::cpu {

const Simd* current_simd() {
  switch (Context::current().cpu()) {
    case CpuLevel::plain: return nullptr;
    case CpuLevel::avx2: return &kAvx2;
    case CpuLevel::avx512:
    case CpuLevel::amx: return &kAvx512;
  }
  return nullptr;
}

}  // namespace sat::cpu
