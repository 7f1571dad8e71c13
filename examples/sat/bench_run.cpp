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

Roofs median_of(const std::vector<Roofs>& all) {
  const auto median = [&](double Roofs::*rate) {
    std::vector<double> values;
    for (const Roofs& roofs : all) values.push_back(roofs.*rate);
    return spread_of(values).median;
  };
  return {median(&Roofs::fma_flops), median(&Roofs::memory_bytes), median(&Roofs::cache_bytes)};
}

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
    case Bound::memory: return "memory";
    case Bound::cache: return "L2";
  }
  return "?";
}

RoofTime roof_time(const Work& work, const Roofs& roofs, int threads) {
  const bool cached = work.bytes <= double(threads) * double(RoofMeter::l2_bytes());
  const double moving = work.bytes / (cached ? roofs.cache_bytes : roofs.memory_bytes);
  const double computing = work.flop / roofs.fma_flops;
  if (computing >= moving) return {Bound::fma, computing};
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

Context& BenchRunner::context(CpuLevel level) {
  std::unique_ptr<Context>& context = contexts_[level];
  if (!context) {
    ContextOptions options;
    options.threads = settings_.threads;
    options.cpu = level;
    options.cancelled = cancelled_;
    context = std::make_unique<Context>(options);
  }
  return *context;
}

int BenchRunner::threads() const { return contexts_.at(settings_.cpu)->threads().size(); }

std::map<CpuLevel, Roofs> BenchRunner::roofs() const {
  std::map<CpuLevel, Roofs> medians;
  for (const auto& [level, all] : measured_) medians[level] = median_of(all);
  return medians;
}

double BenchRunner::time(const Prepared& form, int64_t calls) {
  UseContext use(context(form.level));
  profile::Stopwatch watch;
  for (int64_t call = 0; call < calls; ++call) form.runner();
  return watch.lap() / double(calls);
}

std::vector<BenchResult> BenchRunner::run(const BenchJob& job) {
  std::vector<Prepared> forms;
  std::map<CpuLevel, std::vector<Roofs>> roofs;
  {
    UseContext use(context(settings_.cpu));
    const Inputs inputs = job.operation.inputs(job.sizes);
    for (const BenchVariant& variant : job.variants) {
      const CpuLevel level = variant.level.value_or(settings_.cpu);
      UseContext at_level(context(level));
      forms.push_back({&variant, level, variant.prepare(job.sizes, inputs)});
      roofs[level];
    }
  }
  double slowest = 0;
  for (Prepared& form : forms) {
    double call = time(form, 1);  // the first call also warms up
    if (call < settings_.seconds) call = time(form, 1);
    form.calls = std::max<int64_t>(1, std::llround(std::ceil(settings_.seconds / std::max(call, 1e-7))));
    slowest = std::max(slowest, call);
  }
  const int rounds = settings_.repeat > 0 ? settings_.repeat : slowest > kSlowCall ? 3 : 5;
  for (int round = 0; round < rounds; ++round) {
    for (auto& [level, all] : roofs) {
      UseContext use(context(level));
      all.push_back(meter_->measure());
    }
    for (Prepared& form : forms) form.seconds.push_back(time(form, form.calls));
  }

  std::vector<BenchResult> results;
  const Work work = job.operation.work(job.sizes);
  for (const Prepared& form : forms) {
    BenchResult result{case_name(job.operation, job.sizes), job.operation.name, form.variant->name, form.level, work};
    result.rounds = rounds;
    result.seconds = spread_of(form.seconds);
    result.roofs = median_of(roofs.at(form.level));
    const RoofTime at_best = roof_time(work, result.roofs, threads());
    result.bound = at_best.bound;
    result.of_roof = at_best.seconds / result.seconds.median;
    results.push_back(std::move(result));
  }
  for (auto& [level, all] : roofs) measured_[level].insert(measured_[level].end(), all.begin(), all.end());
  return results;
}

}  // namespace sat::cli
