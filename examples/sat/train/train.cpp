// sat train: steps, validations and checkpoints until the schedule, a limit or a signal ends it.
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "examples/sat/command_line/command_line.h"
#include "examples/sat/interrupt.h"
#include "examples/sat/output/output.h"
#include "examples/sat/output/progress.h"
#include "examples/sat/train/knowledge/knowledge_run.h"
#include "examples/sat/train/run_folder.h"
#include "examples/sat/train/segmentation_run.h"
#include "examples/sat/train/training_curves.h"
#include "sat/io/files/hash.h"
#include "sat/io/pictures/png.h"
#include "sat/io/words/text.h"
#include "sat/nn/run/plan.h"
#include "sat/tensor/memory/machine.h"
#include "sat/tensor/profile.h"

namespace sat::cli {

namespace {

constexpr const char *kLast = "last.safetensors", *kBest = "best.safetensors";
constexpr double kCurvesEvery = 60;  // seconds

Json line_of(const StepReport& step) {
  Json seconds = Json::object({{"wait", step.wait_seconds},
                               {"data", step.data_seconds},
                               {"forward", step.forward_seconds},
                               {"backward", step.backward_seconds},
                               {"optimiser", step.optimiser_seconds}});
  return Json::object({{"step", step.step},
                       {"loss", step.loss},
                       {"rate", step.rate},
                       {"gradient_norm", step.gradient_norm},
                       {"seconds", std::move(seconds)},
                       {"batches", step.details}});
}

TrainerOptions options_of(const TrainConfig& config) {
  TrainerOptions options;
  options.schedule = RateSchedule(config.stages);
  options.optimiser = config.optimiser;
  options.groups = ParameterGroups(config.groups);
  options.accumulation = config.accumulation;
  options.average_accumulation = config.average_accumulation;
  options.clip = config.clip;
  options.average = config.average;
  return options;
}

/// What a checkpoint's run validated with: averages where there are any.
NamedTensors learnt_values(TrainingCheckpoint checkpoint) {
  NamedTensors values = std::move(checkpoint.average);
  values.merge(checkpoint.parameters);
  return values;
}

/// The loop around a trainer, with all that it leaves in the run's folder.
class TrainingLoop {
 public:
  TrainingLoop(const TrainRequest& request, const TrainConfig& config, TrainingTask& task, RunFolder& folder,
               ProgressView& view)
      : request_(request),
        config_(config),
        complete_(to_json(config)),
        task_(task),
        folder_(folder),
        view_(view),
        trainer_(task, options_of(config)) {}

  void start(const TrainingCheckpoint* resumed, const std::string& source) {
    if (resumed) {
      trainer_.resume(*resumed, complete_, free_keys(), source);
      best_ = resumed->best;
    }
    folder_.write_config(complete_);
    for (const Json& line : folder_.open_log(trainer_.done(), best_.validated)) curves_.add(line);
  }

  /// Until the schedule or a limit ends it.
  void run() {
    const int64_t last = request_.max_steps > 0 ? std::min(request_.max_steps, trainer_.steps()) : trainer_.steps();
    profile::Stopwatch watch;
    double hours = 0, curves = 0;
    written_ = trainer_.done();
    try {
      if (trainer_.done() > 0) validate_and_write();  // what a signal may have cut off
      while (trainer_.done() < last && (request_.max_hours == 0 || hours < request_.max_hours)) {
        step(last);
        validate_and_write();
        const double lap = watch.lap();
        hours += lap / 3600;
        curves += lap;
        if (curves > kCurvesEvery) draw_curves(), curves = 0;
      }
    } catch (const Cancelled&) {
      Context::current().set_cancelled({});  // what is left to do is done
      finish();
      throw;
    }
    finish();
  }

  const BestScore& best() const { return best_; }
  int64_t done() const { return trainer_.done(); }
  int64_t steps() const { return trainer_.steps(); }

 private:
  void step(int64_t last) {
    if (interrupted()) throw Cancelled("interrupted");
    const StepReport report = trainer_.step();
    const Json line = line_of(report);
    folder_.log(line);
    curves_.add(line);
    view_.count("training", "steps", report.step, last, "loss " + significant(report.loss, 4));
  }

  /// Whatever is due after a step and has not been done.
  void validate_and_write() {
    const int64_t done = trainer_.done(), every = config_.validation.every, keep = config_.checkpoints.keep_every;
    const bool validates =
        every > 0 && task_.validates() && best_.validated < done && (done % every == 0 || done == trainer_.steps());
    if (validates) validate();
    if (validates && best_.step == done) write(kBest);
    if (validates || (written_ < done && done % config_.checkpoints.every == 0)) {
      write(kLast);
      written_ = done;
    }
    if (keep > 0 && done % keep == 0) write(RunFolder::numbered(done).c_str());
  }

  void validate() {
    view_.stage("validating");
    const ValidationReport report = task_.validate(trainer_.best_values());
    Json validation = report.details;
    validation.set("score", report.score);
    const Json line = Json::object({{"step", trainer_.done()}, {"validation", std::move(validation)}});
    folder_.log(line);
    curves_.add(line);
    view_.line("step " + std::to_string(trainer_.done()) + ": validation " + fixed(report.score, 4));
    best_.validated = trainer_.done();
    if (best_.step > 0 && report.score <= best_.score) return;
    best_.step = trainer_.done();
    best_.score = report.score;
  }

  void finish() {
    if (written_ < trainer_.done()) write(kLast);
    draw_curves();
  }

  void write(const char* name) { folder_.write_checkpoint(name, trainer_.checkpoint(complete_, best_)); }

  void draw_curves() {
    if (curves_.empty()) return;
    failing_as(FailureKind::output,
               [&] { write_png(folder_.file("curves.png"), curves_.draw("Training " + folder_.path())); });
  }

  const TrainRequest& request_;
  const TrainConfig& config_;
  Json complete_;
  TrainingTask& task_;
  RunFolder& folder_;
  ProgressView& view_;
  Trainer trainer_;
  BestScore best_;
  TrainingCurves curves_;
  int64_t written_ = 0;  // the step of the last checkpoint
};

std::unique_ptr<TrainingRun> open_training(const TrainConfig& config, const std::string& folder,
                                           const TrainingCheckpoint* resumed, int64_t most_bytes, ProgressView& view) {
  if (config.knowledge) return std::make_unique<KnowledgeRun>(config, folder, view);
  const auto warn = [&](const std::string& text) { view.line(text); };
  return std::make_unique<SegmentationRun>(config, open_files(config, warn), folder, resumed, most_bytes, view);
}

}  // namespace

int run(const TrainRequest& request) {
  if (request.explain) return explain(request);
  if (request.output.empty()) throw UsageError("-o is missing: the folder of the run");
  TrainConfig config = read_train_config(request.config);
  if (request.seed) config.seed = uint64_t(*request.seed);
  RunFolder folder(request.output, request.resume);
  watch_for_interrupts();

  const int64_t most_bytes = request.max_ram > 0 ? request.max_ram : memory_limit().bytes;
  ContextOptions options;
  options.threads = request.threads;
  options.cpu = request.cpu;
  options.precision = config.precision;
  options.cancelled = interrupted;
  options.max_bytes = request.max_ram > 0 ? std::max<int64_t>(request.max_ram - kProgramBytes, 1) : 0;
  Context context(options);
  const UseContext use(context);
  ProgressView view(request.quiet);
  view.start("train");

  std::optional<TrainingCheckpoint> resumed;
  std::string source;
  if (const std::optional<std::string> last = folder.last()) {
    source = *last;
    resumed = read_training_checkpoint(source);
  }
  const std::unique_ptr<TrainingRun> training =
      open_training(config, folder.path(), resumed ? &*resumed : nullptr, most_bytes, view);
  std::string end;
  bool has_best = false;
  {
    TrainingLoop loop(request, config, training->task(), folder, view);
    loop.start(resumed ? &*resumed : nullptr, source);
    if (resumed) view.line("going on after step " + std::to_string(resumed->step));
    resumed.reset();
    loop.run();
    view.clear();
    end = std::to_string(loop.done()) + " of " + std::to_string(loop.steps()) + " steps";
    has_best = loop.best().step > 0;
    if (has_best) {
      end += ", best validation " + fixed(loop.best().score, 4) + " after step " + std::to_string(loop.best().step);
    }
  }
  const std::string from = folder.file(has_best ? kBest : kLast);
  failing_as(FailureKind::output, [&] {
    end +=
        "; " + training->export_to(folder.path(), learnt_values(read_training_checkpoint(from)), sha256_of_file(from));
  });
  view.line(end);
  return kDone;
}

}  // namespace sat::cli
