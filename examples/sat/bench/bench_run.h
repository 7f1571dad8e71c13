// How `sat bench` measures: rounds in which every variant of a case runs once and the roofs are taken again.
// Knows cases by bench_case.h; how results look is bench_report.h's.
#pragma once

#include <compare>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "examples/sat/bench/bench_case.h"
#include "sat/tensor/roofs/roofs.h"

namespace sat::cli {

/// One case and the variants of it that run.
struct BenchJob {
  BenchOperation operation;
  CaseSizes sizes;
  std::vector<BenchVariant> variants;
};

struct BenchSettings {
  int threads = 0;
  CpuLevel cpu = best_cpu_level();
  int repeat = 0;                                  // rounds; 0: 5, or 3 where a variant takes over two seconds a call
  double seconds = 0.1;                            // that one measurement takes at least
  std::optional<cuda::DeviceOptions> device = {};  // where variants run; none: the CPU
};

/// Least, middle and largest of some figures.
struct Spread {
  double least = 0, median = 0, most = 0;
};
Spread spread_of(std::vector<double> values);

enum class Bound : uint8_t { fma, memory, cache, tiles };
const char* name_of(Bound bound);  // "FMA", "memory", "L2", "tiles"

struct BenchResult {
  std::string name, operation, variant;
  CpuLevel cpu = CpuLevel::plain;  // where it ran, or made the inputs
  DType type = DType::f32;         // how features are held at its precision
  Work work;
  bool on_tiles = false;  // computes on matrix units where the level has them
  int rounds = 0;
  Spread seconds = {};  // of one call
  Bound bound = {};     // what limits this work on this machine
  double of_roof = 0;   // the time that the bound allows, as a share of the median
};

/// What the work takes at best, and what bounds it. Work that fits in the cores' L2 caches is held against the copy
/// in cache, where there is a rate of it.
struct RoofTime {
  Bound bound;
  double seconds;
};
RoofTime roof_time(const Work& work, const Roofs& roofs, int threads, bool on_tiles = false);

/// Measures one job after the other.
class BenchRunner {
 public:
  explicit BenchRunner(const BenchSettings& settings);
  BenchRunner(const BenchRunner&) = delete;
  BenchRunner& operator=(const BenchRunner&) = delete;

  void run(const BenchJob& job);

  int threads() const;
  /// "cuda:0 (NVIDIA H100 80GB HBM3)", or "" where variants run on the CPU.
  const std::string& device() const { return device_; }
  /// The best of all rounds so far, at the level of --cpu: a busy moment can only hide what the machine is able to do.
  const Roofs& roofs() const { return roofs_; }
  /// Of all jobs so far, held against roofs(), whatever level a variant ran at.
  std::vector<BenchResult> results() const;

 private:
  struct Prepared;
  struct Place {  // a variant's
    CpuLevel level = CpuLevel::plain;
    Precision precision = Precision::exact;
    std::string conv = {}, attention = {};  // variants of the device; "": the CPU
    auto operator<=>(const Place&) const = default;
  };
  Place host() const { return {settings_.cpu}; }
  Place place_of(const BenchVariant& variant) const;
  Context& context(const Place& place);
  std::vector<Prepared> prepare(const BenchJob& job);
  double time(const Prepared& one, int64_t calls);
  void measure_roofs();

  BenchSettings settings_;
  std::map<Place, std::unique_ptr<Context>> contexts_;
  std::string device_;
  std::function<Roofs()> meter_;
  Roofs roofs_;
  std::vector<BenchResult> results_;
};

}  // namespace sat::cli
