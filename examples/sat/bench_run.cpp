// Forms of one case share its inputs and take turns, so a slow moment of the machine meets all of them and the roofs.
#include "examples/sat/bench_run.h"

#include <algorithm>
#include <cmath>

#include "sat/tensor/parallel.h"
#include "sat/tensor/profile.h"

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
  const bool cached = work.bytes <= double(threads) * double(RoofMeter::l2_bytes());
  const double moving = work.bytes / (cached ? roofs.cache_bytes : roofs.memory_bytes);
  const double computing = work.flop / (tiles ? roofs.tile_flops : roofs.fma_flops);
  if (computing >= moving) return {tiles ? Bound::tiles : Bound::fma, computing};
  return {cached ? Bound::cache : Bound::memory, moving};
}

struct BenchRunner::Prepared {
  const BenchVariant* variant;
  CpuLevel level;
  Runner runner;
  int64_t calls = 1;                 // in one measurement
  std::vector<double> seconds = {};  // a call
};

BenchRunner::BenchRunner(const BenchSettings& settings, const std::function<bool()>& cancelled)
    : settings_(settings), cancelled_(cancelled) {
  UseContext use(context(settings.cpu));
  RoofOptions options;
  options.seconds = kRoofShare * settings.seconds;
  if (settings.seconds < kQuickLook) options.array_bytes = kQuickArray;
  meter_ = std::make_unique<RoofMeter>(options);
}

Context& BenchRunner::context(CpuLevel level, Precision precision) {
  std::unique_ptr<Context>& context = contexts_[{level, precision}];
  if (!context) {
    ContextOptions options;
    options.threads = settings_.threads;
    options.cpu = level;
    options.precision = precision;
    options.cancelled = cancelled_;
    context = std::make_unique<Context>(options);
  }
  return *context;
}

int BenchRunner::threads() const { return contexts_.at({settings_.cpu, Precision::exact})->threads().size(); }

double BenchRunner::time(const Prepared& form, int64_t calls) {
  UseContext use(context(form.level, form.variant->precision));
  profile::Stopwatch watch;
  for (int64_t call = 0; call < calls; ++call) form.runner();
  return watch.lap() / double(calls);
}

void BenchRunner::measure_roofs() {
  UseContext use(context(settings_.cpu));
  const Roofs now = meter_->measure();
  for (double Roofs::*rate : {&Roofs::fma_flops, &Roofs::tile_flops, &Roofs::memory_bytes, &Roofs::cache_bytes}) {
    roofs_.*rate = std::max(roofs_.*rate, now.*rate);
  }
}

std::vector<BenchRunner::Prepared> BenchRunner::prepare(const BenchJob& job) {
  UseContext use(context(settings_.cpu));
  const Inputs inputs = job.operation.inputs(job.sizes);
  std::vector<Prepared> forms;
  for (const BenchVariant& variant : job.variants) {
    const CpuLevel level = variant.level.value_or(settings_.cpu);
    UseContext as_it_runs(context(level, variant.precision));
    forms.push_back({&variant, level, variant.prepare(job.sizes, inputs)});
  }
  return forms;
}

void BenchRunner::run(const BenchJob& job) {
  std::vector<Prepared> forms = prepare(job);
  double slowest = 0;
  for (Prepared& form : forms) {
    double call = time(form, 1);  // the first call also warms up
    if (call < settings_.seconds) call = time(form, 1);
    form.calls = std::max<int64_t>(1, std::llround(std::ceil(settings_.seconds / std::max(call, 1e-7))));
    slowest = std::max(slowest, call);
  }
  const int rounds = settings_.repeat > 0 ? settings_.repeat : slowest > kSlowCall ? 3 : 5;
  for (int round = 0; round < rounds; ++round) {
    measure_roofs();
    for (Prepared& form : forms) form.seconds.push_back(time(form, form.calls));
  }
  for (const Prepared& form : forms) {
    results_.push_back({case_name(job.operation, job.sizes), job.operation.name, form.variant->name, form.level,
                        job.operation.work(job.sizes), form.variant->on_tiles, rounds, spread_of(form.seconds)});
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
