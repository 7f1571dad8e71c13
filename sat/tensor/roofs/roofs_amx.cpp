// The loop of roofs.h on the processor's tiles: six sums, as many as leave room for two operands.
#include "sat/tensor/cpu/amx/tile_configuration.h"
#include "sat/tensor/roofs/roof_loops.h"

namespace sat::cpu {

float tile_products(const uint16_t* operands, int64_t steps) {
  const TileConfiguration configuration;
  const int64_t row = 64;
  asm volatile("ldtilecfg %0" ::"m"(configuration));
  asm volatile("tileloadd (%0,%1,1), %%tmm6" ::"r"(operands), "r"(row) : "memory");
  asm volatile("tileloadd (%0,%1,1), %%tmm7" ::"r"(operands + kRoofTile), "r"(row) : "memory");
  asm volatile("tilezero %tmm0\n tilezero %tmm1\n tilezero %tmm2\n tilezero %tmm3\n tilezero %tmm4\n tilezero %tmm5");
  for (int64_t step = 0; step < steps; ++step) {
    asm volatile(
        "tdpbf16ps %tmm7, %tmm6, %tmm0\n tdpbf16ps %tmm7, %tmm6, %tmm1\n tdpbf16ps %tmm7, %tmm6, %tmm2\n"
        "tdpbf16ps %tmm7, %tmm6, %tmm3\n tdpbf16ps %tmm7, %tmm6, %tmm4\n tdpbf16ps %tmm7, %tmm6, %tmm5");
  }
  alignas(64) float sums[16 * 16];
  asm volatile("tilestored %%tmm5, (%0,%1,1)" ::"r"(sums), "r"(row) : "memory");
  asm volatile("tilerelease");
  float total = 0;
  for (float sum : sums) total += sum;
  return total;
}

}  // namespace sat::cpu
