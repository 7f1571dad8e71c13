// The loop's body on a task of two parameters: sums of batches, averages, and a run that is resumed at any step ends in
// the bits of one that was not stopped.
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>

#include "sat/nn/train/data/random.h"
#include "sat/nn/train/trainer.h"
#include "tests/support/golden.h"
#include "tests/support/levels.h"

using namespace sat;
using namespace sat::test;

namespace {

/// Parameters that are drawn to a target by gradients with noise.
class Drawn : public TrainingTask {
 public:
  explicit Drawn(bool noisy = true) : noisy_(noisy) {}
  const NamedTensors& parameters() const override { return parameters_; }
  Json model() const override { return Json::object({{"size", 6}}); }
  std::string data() const override { return std::string(64, 'a'); }
  NamedTensors gradients(const BatchPlace& place, BatchReport& report) override {
    NamedTensors all;
    KeyedRandom random(3, uint64_t(place.step), uint32_t(place.part), Purpose::pairs);
    for (const auto& [name, parameter] : parameters_) {
      if (name == "still") continue;
      Tensor gradient = parameter.clone();
      for (int64_t i = 0; i < gradient.numel(); ++i) {
        float& g = gradient.data<float>()[i];
        g -= float(i) / 4;
        report.loss += 0.5 * double(g) * double(g);
        if (noisy_) g += float(0.1 * random.normal());
      }
      all[name] = std::move(gradient);
    }
    return all;
  }
  ValidationReport validate(const NamedTensors&) override { return {}; }

 private:
  bool noisy_;
  NamedTensors parameters_{{"a", field("a", {6}, 1)}, {"b", field("b", {2, 3}, 1)}, {"still", field("s", {2}, 1)}};
};

TrainerOptions short_run() {
  TrainerOptions options;
  options.schedule = RateSchedule({{12, 2, 0.1}, {8, 0, 0.05}});
  options.average = 0.9;
  options.clip = 2;
  options.accumulation = 2;
  return options;
}

Json config() { return Json::object({{"rate", 0.1}, {"workers", 2}}); }

/// What a run of `steps` steps leaves, stopped and resumed through a file after each of `stops`.
TrainingCheckpoint ran(int64_t steps, const std::vector<int64_t>& stops) {
  const TempDir folder;
  const std::string path = folder / "last.safetensors";
  auto task = std::make_unique<Drawn>();
  auto trainer = std::make_unique<Trainer>(*task, short_run());
  while (trainer->done() < steps) {
    trainer->step();
    if (std::find(stops.begin(), stops.end(), trainer->done()) == stops.end()) continue;
    write_training_checkpoint(path, trainer->checkpoint(config(), {}));
    trainer.reset();
    task = std::make_unique<Drawn>();
    trainer = std::make_unique<Trainer>(*task, short_run());
    trainer->resume(read_training_checkpoint(path), config(), {}, path);
  }
  TrainingCheckpoint left = trainer->checkpoint(config(), {});
  for (auto& [name, tensor] : left.parameters) tensor = tensor.clone();
  return left;
}

/// What resuming says of a checkpoint that was changed.
template <class Change>
std::string refusal(Change change) {
  Drawn task;
  Trainer trainer(task, short_run());
  trainer.step();
  TrainingCheckpoint checkpoint = trainer.checkpoint(config(), {});
  change(checkpoint);
  try {
    trainer.resume(checkpoint, config(), {"workers"}, "last");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("a run that is resumed from its file at any step ends in the same bits") {
  const TrainingCheckpoint whole = ran(20, {});
  for (const std::vector<int64_t>& stops : {std::vector<int64_t>{1}, {7, 12}, {3, 4, 13, 19}}) {
    const TrainingCheckpoint parts = ran(20, stops);
    CHECK(parts.step == whole.step);
    for (const auto& [name, tensor] : whole.parameters) CHECK(same_bits(parts.parameters.at(name), tensor));
    for (const auto& [name, tensor] : whole.average) CHECK(same_bits(parts.average.at(name), tensor));
    for (const auto& [name, moments] : whole.moments) {
      CHECK(same_bits(parts.moments.at(name).second, moments.second));
      CHECK(parts.moments.at(name).steps == moments.steps);
    }
  }
}

TEST_CASE("a step reports mean loss, rate and the norm of the summed gradients, and moves what has a gradient") {
  Drawn task(false);
  TrainerOptions options = short_run();
  options.clip = 0;
  Trainer trainer(task, options);
  const Tensor before = task.parameters().at("b").clone(), still = task.parameters().at("still").clone();
  BatchReport one;
  const double norm = gradient_norm(task.gradients({}, one));
  const StepReport report = trainer.step();
  CHECK(report.step == 1);
  CHECK(report.rate == 0.05);
  CHECK(report.loss == doctest::Approx(one.loss));
  CHECK(report.gradient_norm == doctest::Approx(2 * norm));
  CHECK_FALSE(same_bits(task.parameters().at("b"), before));
  CHECK(same_bits(task.parameters().at("still"), still));
  CHECK_FALSE(same_bits(trainer.best_values().at("b"), task.parameters().at("b")));
  options.average_accumulation = true;
  Drawn again(false);
  CHECK(Trainer(again, options).step().gradient_norm == doctest::Approx(norm));
}

TEST_CASE("a checkpoint of another model, config or other data is refused with what differs") {
  CHECK(refusal([](TrainingCheckpoint& one) {
          one.model = Json::object({{"size", 7}});
        }) == "last: a checkpoint of another model, which cannot be gone on with: size is 7 there, 6 here");
  CHECK(refusal([](TrainingCheckpoint& one) {
          one.config = Json::object({{"rate", 0.2}, {"workers", 2}});
        }) == "last: a checkpoint of another config, which cannot be gone on with: rate is 0.2 there, 0.1 here");
  CHECK(refusal([](TrainingCheckpoint& one) { one.config = Json::object({{"rate", 0.1}, {"workers", 9}}); }) == "");
  CHECK(refusal([](TrainingCheckpoint& one) { one.data = std::string(64, 'b'); }) ==
        "last: a checkpoint of other data: the list of cases has the hash bbbbbbbbbbbb... there, aaaaaaaaaaaa... here");
  CHECK(refusal([](TrainingCheckpoint& one) {
          one.parameters["b"] = full({3, 2}, 0);
        }) == "last: parameter 'b' of shape [2, 3] is missing, or has another shape");
  CHECK(refusal([](TrainingCheckpoint& one) { one.step = 21; }) == "last: made after 21 steps; this run has 20");
  CHECK(refusal([](TrainingCheckpoint& one) { one.average.clear(); }) ==
        "last: holds 0 moving averages, this run has 3");
}
