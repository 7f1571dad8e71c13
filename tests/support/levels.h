// What the tests of the ops share: every CPU level of this machine, any number of threads, matrix units or what stands
// in for them, and equality of bits.
#pragma once

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "sat/tensor/context.h"
#include "sat/tensor/cpu/backend.h"
#include "sat/tensor/tensor.h"
#include "tests/support/amx/emulated_loops.h"

namespace sat::test {

/// plain and whatever else this processor runs.
inline std::vector<CpuLevel> levels() {
  std::vector<CpuLevel> all;
  for (CpuLevel level : {CpuLevel::plain, CpuLevel::avx2, CpuLevel::avx512, CpuLevel::amx}) {
    if (level <= best_cpu_level()) all.push_back(level);
  }
  return all;
}

/// Whether a context has the processor's matrix units, or loops that stand in for them where it has none.
enum class Tiles : uint8_t { no, yes };

inline ContextOptions options_of(CpuLevel level, int threads, Tiles tiles = Tiles::no) {
  ContextOptions options;
  options.cpu = level;
  options.threads = threads;
  if (tiles == Tiles::yes && level != CpuLevel::amx) {
    options.host = cpu::make_backend(0, false, &cpu::kEmulatedTiles);
  }
  return options;
}

/// What `compute` returns when it runs at a CPU level with some threads.
template <class Compute>
Tensor computed(CpuLevel level, int threads, Compute compute, Tiles tiles = Tiles::no) {
  Context context(options_of(level, threads, tiles));
  UseContext use(context);
  return compute();
}

/// Contexts that rows are computed in, each made once.
class Contexts {
 public:
  Context& of(CpuLevel level, int threads, bool on_tiles = false) {
    std::unique_ptr<Context>& context = made_[{level, threads, on_tiles}];
    if (!context) {
      context = std::make_unique<Context>(options_of(level, threads, on_tiles ? Tiles::yes : Tiles::no));
    }
    return *context;
  }

 private:
  std::map<std::tuple<CpuLevel, int, bool>, std::unique_ptr<Context>> made_;
};

inline bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape == b.shape && std::memcmp(a.raw(), b.raw(), size_t(a.bytes())) == 0;
}

/// "" or the level and the thread count whose bits differ from those of one thread.
template <class Compute>
std::string difference_by_threads(Compute compute) {
  for (CpuLevel level : levels()) {
    const Tensor alone = computed(level, 1, compute);
    for (int threads : {2, 3, 4, 8}) {
      if (!same_bits(computed(level, threads, compute), alone)) {
        return std::string(name_of(level)) + " with " + std::to_string(threads) + " threads";
      }
    }
  }
  return "";
}

}  // namespace sat::test
