// One step, and the way in and out of a checkpoint.
#include "sat/nn/train/trainer.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include "sat/tensor/context.h"
#include "sat/tensor/profile.h"

namespace sat {

namespace {

/// While it lives, nothing in this context is cancelled: what it covers happens whole or not at all.
class Uninterrupted {
 public:
  Uninterrupted() : context_(Context::current()), before_(context_.on_cancelled()) { context_.set_cancelled({}); }
  ~Uninterrupted() { context_.set_cancelled(std::move(before_)); }
  Uninterrupted(const Uninterrupted&) = delete;
  Uninterrupted& operator=(const Uninterrupted&) = delete;

 private:
  Context& context_;
  std::function<bool()> before_;
};

}  // namespace

Trainer::Trainer(TrainingTask& task, TrainerOptions options)
    : task_(task), options_(std::move(options)), optimiser_(options_.optimiser, options_.groups) {
  std::vector<std::string> names;
  for (const auto& [name, parameter] : task.parameters()) names.push_back(name);
  options_.groups.check(names);
  if (options_.average == 0) return;
  for (const auto& [name, parameter] : task.parameters()) {
    if (options_.groups.learns(name)) average_[name] = parameter.clone();
  }
}

StepReport Trainer::step() {
  StepReport report;
  report.step = done_ + 1;
  report.rate = options_.schedule.rate(report.step);
  update(0, report);
  {
    const Uninterrupted whole;  // a step is done, or it is not
    for (int64_t i = 1; i < task_.updates(); ++i) update(i, report);
  }
  report.loss /= double(task_.updates() * options_.accumulation);
  ++done_;
  return report;
}

void Trainer::update(int64_t update, StepReport& report) {
  NamedTensors gradients;
  for (int64_t part = 0; part < options_.accumulation; ++part) {
    BatchReport batch;
    add_gradients(gradients, task_.gradients({report.step, update, part}, batch));
    report.loss += batch.loss;
    report.details.push(std::move(batch.details));
    report.wait_seconds += batch.wait_seconds;
    report.data_seconds += batch.data_seconds;
    report.forward_seconds += batch.forward_seconds;
    report.backward_seconds += batch.backward_seconds;
  }
  profile::Stopwatch watch;
  if (options_.average_accumulation && options_.accumulation > 1) {
    scale_gradients(gradients, 1 / double(options_.accumulation));
  }
  const double norm = gradient_norm(gradients);
  if (!std::isfinite(norm)) check_finite(gradients, report.step);
  report.gradient_norm = std::max(report.gradient_norm, norm);
  if (options_.clip > 0) clip_gradients(gradients, norm, options_.clip);
  const Uninterrupted whole;
  optimiser_.step(task_.parameters(), gradients, report.rate);
  task_.after_update();
  update_average(average_, task_.parameters(), options_.average);
  report.optimiser_seconds += watch.lap();
}

NamedTensors Trainer::best_values() const {
  NamedTensors values = average_;
  values.insert(task_.parameters().begin(), task_.parameters().end());  // those without an average
  return values;
}

TrainingCheckpoint Trainer::checkpoint(const Json& config, const BestScore& best) const {
  TrainingCheckpoint checkpoint;
  checkpoint.step = done_;
  checkpoint.best = best;
  checkpoint.config = config;
  checkpoint.model = task_.model();
  checkpoint.data = task_.data();
  checkpoint.parameters = task_.parameters();
  checkpoint.moments = optimiser_.moments();
  checkpoint.average = average_;
  return checkpoint;
}

void Trainer::resume(const TrainingCheckpoint& checkpoint, const Json& config,
                     const std::vector<std::string>& free_keys, const std::string& source) {
  const auto refuse = [&](const char* of, const std::vector<std::string>& found) {
    if (found.empty()) return;
    fail(source, ": a checkpoint of another ", of, ", which cannot be gone on with: ", found[0],
         found.size() > 1 ? ", and " + std::to_string(found.size() - 1) + " more" : "");
  };
  refuse("model", differences(checkpoint.model, task_.model()));
  refuse("config", differences(checkpoint.config, config, free_keys));
  SAT_CHECK(checkpoint.data == task_.data(), source, ": a checkpoint of other data: the list of cases has the hash ",
            checkpoint.data.substr(0, 12), "... there, ", task_.data().substr(0, 12), "... here");
  SAT_CHECK(checkpoint.step <= steps(), source, ": made after ", checkpoint.step, " steps; this run has ", steps());
  const NamedTensors& parameters = task_.parameters();
  SAT_CHECK(checkpoint.parameters.size() == parameters.size(), source, ": holds ", checkpoint.parameters.size(),
            " parameters, the model has ", parameters.size());
  for (const auto& [name, parameter] : parameters) {
    const auto found = checkpoint.parameters.find(name);
    SAT_CHECK(found != checkpoint.parameters.end() && found->second.shape == parameter.shape, source, ": parameter '",
              name, "' of shape ", parameter.shape, " is missing, or has another shape");
  }
  SAT_CHECK(checkpoint.average.size() == average_.size(), source, ": holds ", checkpoint.average.size(),
            " moving averages, this run has ", average_.size());
  for (const auto& [name, moments] : checkpoint.moments) {
    const bool second = optimiser_.options().method == OptimiserMethod::adamw;
    SAT_CHECK(options_.groups.learns(name) && moments.second.empty() != second, source, ": the moments of '", name,
              "' are not what this run's optimiser keeps");
  }
  for (const auto& [name, parameter] : parameters) {
    const Tensor& from = checkpoint.parameters.at(name);
    Tensor to = parameter;  // shares its bytes
    if (from.raw() != to.raw()) copy(to, from);
  }
  for (auto& [name, mean] : average_) copy(mean, checkpoint.average.at(name));
  optimiser_.set_moments(checkpoint.moments);
  done_ = checkpoint.step;
}

}  // namespace sat
