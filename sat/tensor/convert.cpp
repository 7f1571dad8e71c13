// The choice between the plain loops and those of AVX2.
#include "sat/tensor/convert.h"

#include <algorithm>

#include "sat/tensor/context.h"
#include "sat/tensor/cpu/vector/vector_avx2.h"

namespace sat {

namespace {

bool has_vectors() { return Context::current().cpu() != CpuLevel::plain; }

}  // namespace

void convert_row(float* y, const f16* x, int64_t count) {
  if (has_vectors()) return cpu::avx2::widen(y, x, count);
  std::transform(x, x + count, y, [](f16 value) { return to_float(value); });
}

void convert_row(float* y, const bf16* x, int64_t count) {
  if (has_vectors()) return cpu::avx2::widen(y, x, count);
  std::transform(x, x + count, y, [](bf16 value) { return to_float(value); });
}

void convert_row(f16* y, const float* x, int64_t count) {
  if (has_vectors()) return cpu::avx2::round_to(y, x, count);
  std::transform(x, x + count, y, to_f16);
}

void convert_row(bf16* y, const float* x, int64_t count) {
  if (has_vectors()) return cpu::avx2::round_to(y, x, count);
  std::transform(x, x + count, y, to_bf16);
}

}  // namespace sat
