// Private. What this machine does at best, measured: the rates that kernels are held against.
// Knows neither kernels nor shapes; who compares what with them is the caller's matter (sat bench).
#pragma once

#include <cstdint>

#include "sat/tensor/tensor.h"

namespace sat {

/// Rates of all threads of a context together.
struct Roofs {
  double fma_flops = 0;            // FLOP/s of f32 multiply-adds on random data in registers; each counts two
  double tile_flops = 0;           // FLOP/s of bf16 tile products on random data from the L1 cache; 0 below level amx
  double resident_tile_flops = 0;  // the same on random data that stay in tiles, which no work of use does
  double memory_bytes = 0;         // bytes/s, read plus written, of copying arrays far larger than the last cache
  double cache_bytes = 0;          // bytes/s, read plus written, of copying arrays of half a core's L2 cache
};

struct RoofOptions {
  double seconds = 0.1;     // that each of the rates is measured for, about
  int64_t array_bytes = 0;  // of each of the two arrays in memory; 0: four times the last cache, 64 MiB at least
};

/// Measures with the threads and the CPU level of the context that is current at each call. The multiply-adds are what
/// the level's instructions allow: 12 independent chains of 256 bits in AVX2, 16 of 512 bits in AVX-512, and for plain
/// 12 of 128 bits, products and sums apart, which is all that portable code can be compiled to. Memory is copied with
/// streaming stores and with ordinary ones, and the faster counts. A single measurement may fall into a busy moment:
/// take the median of several, or the best.
class RoofMeter {
 public:
  explicit RoofMeter(const RoofOptions& options = {});

  Roofs measure() const;  // throws Cancelled when the context says so, and Error in a dry one

  /// Bytes of a core's L2 cache; 256 KiB where the system does not tell.
  static int64_t l2_bytes();

 private:
  double copy_in_memory() const;
  double copy_in_cache() const;

  double seconds_;
  Tensor from_, to_;
};

}  // namespace sat
