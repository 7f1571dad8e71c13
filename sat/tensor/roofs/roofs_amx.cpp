// The loops of tile_roofs.h on the processor's tiles.
#include "sat/tensor/cpu/amx/tiles_amx.h"
#include "sat/tensor/roofs/tile_roofs.h"

namespace sat::cpu {

float tile_products(const uint16_t* operands, int64_t steps) {
  ProcessorUnit unit{TileConfiguration()};
  return resident_products(unit, operands, steps);
}

float fed_products(const FedOperands& operands, int64_t steps) {
  ProcessorUnit unit{TileConfiguration()};
  return loaded_products(unit, operands, steps);
}

}  // namespace sat::cpu
