// Variants of one case share its inputs and take turns, so a slow moment of the machine meets all of them and the
// roofs.
#include "examples/sat/bench/bench_run.h"

#include <algorithm>
#include <cmath>

#include "examples/sat/bench/bench_roofs.h"
#include "sat/tensor/memory/block_allocator.h"
#include "sat/tensor/parallel.h"

namespace sat::cli {

namespace {

constexpr double kSlowCall = 2;      // seconds from which on fewer rounds will do
constexpr double kRoofShare = 0.3;   // of a measurement's time for each roof
constexpr double kQuickLook = 0.01;  // seconds a measurement below which the memory copy has small arrays too
constexpr int64_t kQuickArray = int64_t(8) << 20;

}  // namespace

Spread spread_of(std::vector<double> values) {
  SAT_CHECK(!values.empty(), "a spread of no values");
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  const double median = values.size() % 2 == 1 ? values[half] : 0.5 * (values[half - 1] + values[half]);
  return {values.front(), median, values.back()};
}

const char* name_of(Bound bound) {
  switch (bound) {
    case Bound::fma: return "FMA";
    case Bound::tiles: return "tiles";
    case Bound::memory: return "memory";
    case Bound::cache: return "L2";
  }
  return "?";
}

RoofTime roof_time(const Work& work, const Roofs& roofs, int threads, bool on_tiles) {
  const bool tiles = on_tiles && roofs.tile_flops > 0;
  const bool cached = roofs.cache_bytes > 0 && work.bytes <= double(threads) * double(RoofMeter::l2_bytes());
  const double moving = work.bytes / (cached ? roofs.cache_bytes : roofs.memory_bytes);
  const double computing = work.flop / (tiles ? roofs.tile_flops : roofs.fma_flops);
  if (computing >= moving) return {tiles ? Bound::tiles : Bound::fma, computing};
  return {cached ? Bound::cache : Bound::memory, moving};
}

struct BenchRunner::Prepared {
  const BenchVariant* variant;
  Context* context;
  Runner runner;
  int64_t calls = 1;                 // in one measurement
  std::vector<double> seconds = {};  // a call
};

BenchRunner::BenchRunner(const BenchSettings& settings) : settings_(settings) {
  RoofOptions options;
  options.seconds = kRoofShare * settings.seconds;
  if (settings.seconds < kQuickLook) options.array_bytes = kQuickArray;
  UseContext use(context(host()));
  if (settings.device) {
    Place place = place_of({});
    Context& exact = context(place);
    place.precision = Precision::fast;
    device_ = exact.device_name();
    meter_ = [meter = std::make_shared<DeviceRoofMeter>(exact, context(place), options)] { return meter->measure(); };
  } else {
    meter_ = [this, meter = std::make_shared<RoofMeter>(options)] {
      UseContext as_forms_run(context(host()));
      return meter->measure();
    };
  }
}

BenchRunner::Place BenchRunner::place_of(const BenchVariant& variant) const {
  const CpuLevel level = variant.level.value_or(settings_.cpu);
  if (settings_.device) return {level, variant.precision, variant.conv, variant.attention};
  return {level, variant.precision};
}

Context& BenchRunner::context(const Place& place) {
  std::unique_ptr<Context>& context = contexts_[place];
  if (!context) {
    ContextOptions options;
    options.threads = settings_.threads;
    options.cpu = place.level;
    options.precision = place.precision;
    if (!place.conv.empty()) {
      cuda::DeviceOptions device = *settings_.device;
      device.conv = place.conv;
      device.attention = place.attention;
      options.device = cuda::open_device(device);
    }
    context = std::make_unique<Context>(options);
  }
  return *context;
}

int BenchRunner::threads() const { return contexts_.at(host())->threads().size(); }

double BenchRunner::time(const Prepared& one, int64_t calls) { return time_calls(*one.context, one.runner, calls); }

void BenchRunner::measure_roofs() {
  const Roofs now = meter_();
  for (double Roofs::*rate : {&Roofs::fma_flops, &Roofs::tile_flops, &Roofs::resident_tile_flops, &Roofs::memory_bytes,
                              &Roofs::cache_bytes}) {
    roofs_.*rate = std::max(roofs_.*rate, now.*rate);
  }
}

std::vector<BenchRunner::Prepared> BenchRunner::prepare(const BenchJob& job) {
  for (const auto& [place, context] : contexts_) {
    if (const auto memory = context->planned_memory()) memory->trim();  // what the last job needed
  }
  UseContext use(context(host()));
  const Inputs inputs = job.operation.inputs(job.sizes);
  std::vector<Prepared> all;
  for (const BenchVariant& variant : job.variants) {
    Context& own = context(place_of(variant));
    UseContext as_it_runs(own);
    all.push_back({&variant, &own, variant.prepare(job.sizes, inputs)});
  }
  return all;
}

void BenchRunner::run(const BenchJob& job) {
  std::vector<Prepared> all = prepare(job);
  double slowest = 0;
  for (Prepared& one : all) {
    double call = time(one, 1);  // the first call also warms up
    if (call < settings_.seconds) call = time(one, 1);
    one.calls = std::max<int64_t>(1, std::llround(std::ceil(settings_.seconds / std::max(call, 1e-7))));
    slowest = std::max(slowest, call);
  }
  const int rounds = settings_.repeat > 0 ? settings_.repeat : slowest > kSlowCall ? 3 : 5;
  for (int round = 0; round < rounds; ++round) {
    measure_roofs();
    for (Prepared& one : all) one.seconds.push_back(time(one, one.calls));
  }
  for (const Prepared& one : all) {
    UseContext as_it_ran(*one.context);
    const auto& work = one.variant->work ? one.variant->work : job.operation.work;
    results_.push_back({case_name(job.operation, job.sizes), job.operation.name, one.variant->name, one.context->cpu(),
                        feature_type(), work(job.sizes), one.variant->on_tiles, rounds, spread_of(one.seconds)});
  }
}

std::vector<BenchResult> BenchRunner::results() const {
  std::vector<BenchResult> results = results_;
  for (BenchResult& result : results) {
    const RoofTime at_best = roof_time(result.work, roofs_, threads(), result.on_tiles);
    result.bound = at_best.bound;
    result.of_roof = at_best.seconds / result.seconds.median;
  }
  return results;
}

}  // namespace sat::cli
