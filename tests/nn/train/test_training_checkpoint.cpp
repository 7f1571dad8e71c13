// Checkpoints of trainings: what is written is read again to the bit, what does not fit is refused with its name, and
// configs that differ are told apart key by key.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>

#include "sat/io/checkpoints/safetensors.h"
#include "sat/nn/train/training_checkpoint.h"
#include "tests/support/golden.h"
#include "tests/support/levels.h"

using namespace sat;
using namespace sat::test;

namespace {

TrainingCheckpoint example() {
  TrainingCheckpoint checkpoint;
  checkpoint.step = 12;
  checkpoint.best = {10, 0.1, 12};
  checkpoint.config = Json::parse(R"({"lr": 0.0001, "crop": [16, 16, 8], "data": {"train": "a"}})", "config");
  checkpoint.model = Json::object().set("architecture", "tiny");
  checkpoint.data = std::string(64, 'd');
  checkpoint.parameters = {{"a.weight", field("a", {2, 3}, 1)}, {"b", field("b", {4}, 1)}};
  checkpoint.moments["a.weight"] = {field("m", {2, 3}, 1), field("v", {2, 3}, 1), 11};
  checkpoint.average = {{"a.weight", field("e", {2, 3}, 1)}};
  return checkpoint;
}

/// What reading says of a file whose tensors and metadata were changed.
std::string refusal(
    const std::function<void(std::map<std::string, Tensor>&, std::map<std::string, std::string>&)>& change) {
  const TempDir folder;
  const std::string path = folder / "x.safetensors";
  write_training_checkpoint(path, example());
  Checkpoint file = read_safetensors(path);
  std::map<std::string, Tensor> tensors;
  for (const Weights::Entry& entry : file.weights.entries()) tensors[entry.name] = entry.load();
  change(tensors, file.metadata);
  write_safetensors(path, tensors, file.metadata);
  try {
    read_training_checkpoint(path);
  } catch (const Error& error) {
    return std::string(error.what()).substr(path.size());
  }
  return "";
}

}  // namespace

TEST_CASE("a checkpoint is read as it was written, to the bit") {
  const TempDir folder;
  const std::string path = folder / "last.safetensors";
  const TrainingCheckpoint written = example();
  write_training_checkpoint(path, written);
  const TrainingCheckpoint read = read_training_checkpoint(path);
  CHECK(read.step == 12);
  CHECK(read.best.step == 10);
  CHECK(read.best.score == 0.1);
  CHECK(read.best.validated == 12);
  CHECK(read.config.dump() == written.config.dump());
  CHECK(read.model.dump() == written.model.dump());
  CHECK(read.data == written.data);
  REQUIRE(read.parameters.size() == 2);
  for (const auto& [name, tensor] : written.parameters) CHECK(same_bits(read.parameters.at(name), tensor));
  REQUIRE(read.moments.size() == 1);
  CHECK(same_bits(read.moments.at("a.weight").first, written.moments.at("a.weight").first));
  CHECK(same_bits(read.moments.at("a.weight").second, written.moments.at("a.weight").second));
  CHECK(read.moments.at("a.weight").steps == 11);
  CHECK(same_bits(read.average.at("a.weight"), written.average.at("a.weight")));
  const std::string bytes = read_text(path);
  write_training_checkpoint(path, read);
  CHECK(read_text(path) == bytes);
}

TEST_CASE("a checkpoint whose parts do not fit each other is refused with what is wrong") {
  using Tensors = std::map<std::string, Tensor>;
  using Texts = std::map<std::string, std::string>;
  CHECK(refusal([](Tensors&, Texts& texts) { texts["format"] = "sat-model-1"; }) ==
        ": not a checkpoint of a training (its header does not say \"sat-training-1\")");
  CHECK(refusal([](Tensors&, Texts& texts) { texts["step"] = "12x"; }) == ": \"step\" is '12x', not a number of steps");
  CHECK(refusal([](Tensors&, Texts& texts) { texts.erase("config"); }) == ": its header has no \"config\"");
  CHECK(refusal([](Tensors& tensors, Texts&) { tensors["first.c"] = full({2}, 1); }) ==
        ": 'steps' has shape [1], 2 parameters have moments");
  CHECK(refusal([](Tensors& tensors, Texts&) {
          tensors["second.a.weight"] = full({3, 2}, 1);
        }) == ": 'second.a.weight' has shape [3, 2], its parameter [2, 3]");
  CHECK(refusal([](Tensors& tensors, Texts&) { tensors["average.c"] = full({2}, 1); }) ==
        ": 'average.c' belongs to no parameter");
  CHECK(refusal([](Tensors& tensors, Texts&) { tensors["c"] = full({2}, 1); }) ==
        ": tensor 'c' belongs to no training");
  CHECK(refusal([](Tensors& tensors, Texts&) { tensors["steps"] = from_ids({1}, {13}); }) ==
        ": 'a.weight' moved 13 times in 12 steps");
  CHECK(refusal([](Tensors& tensors, Texts&) {
          tensors["parameters.b"] = full({4}, NAN);
        }).find("'parameters.b' holds 4 of 4") != std::string::npos);
}

TEST_CASE("differences of configs are told key by key, but for those that may differ") {
  const Json there = Json::parse(R"({"lr": 0.1, "stages": [{"rate": 1}, {"rate": 2}], "old": 1, "seed": 3})", "a");
  const Json here = Json::parse(R"({"lr": 0.1, "stages": [{"rate": 1}, {"rate": 5}], "new": "x", "seed": 4})", "b");
  CHECK(differences(there, here, {"seed"}) == std::vector<std::string>{"stages[1].rate is 2 there, 5 here",
                                                                       "old is 1 there, absent here",
                                                                       "new is absent there, \"x\" here"});
  CHECK(differences(there, there).empty());
}
