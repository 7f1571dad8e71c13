// A segmentation step: first weights, gradients that do not depend on threads or on what is computed again, what is
// frozen, and a plan that is what a step really holds.
#include <doctest/doctest.h>

#include <cmath>

#include "sat/nn/sat/model_file.h"
#include "sat/nn/train/segmentation/initial_weights.h"
#include "sat/nn/train/segmentation/segmentation_plan.h"
#include "sat/tensor/memory/memory.h"
#include "tests/support/golden.h"
#include "tests/support/levels.h"
#include "tests/support/tiny_model.h"

using namespace sat;
using namespace sat::test;

namespace {

const std::array<int64_t, 3> kCrop{16, 12, 8};

TrainingQueries queries(bool learns = true) {
  return {{"a", "b", "c"}, field("rows", {3, 12}, 1), field("modality", {5, 12}, 0.1), learns};
}

TrainingSample sample(const std::string& name) {
  TrainingSample one = virtual_sample(kCrop, 3);
  one.image = field(name, one.image.shape, 1);
  one.masks = zeros(one.masks.shape, DType::u8);
  for (int64_t i = 0; i < one.masks.numel(); ++i) one.masks.data<uint8_t>()[i] = uint8_t(i % 7);
  one.structures = {"a", "c", kFillerName};
  one.kinds = {QueryKind::positive, QueryKind::negative, QueryKind::filler};
  one.weights = {1, 1, 0};
  return one;
}

SegmentationStep step_of(const ParameterGroups& groups = {}, int stages = 0, bool table_learns = true) {
  const Weights weights = initial_weights(needed_tensors(tiny_config(), Heads::all), 7);
  return {tiny_config(), weights, groups, queries(table_learns), {true, 0.1f, stages}};
}

NamedTensors gradients(const SegmentationStep& step) {
  BatchReport report;
  return step.gradients({sample("one"), sample("two")}, 99, report);
}

double mean_square(const Tensor& x) {
  double sum = 0;
  for (int64_t i = 0; i < x.numel(); ++i) sum += double(x.data<float>()[i]) * double(x.data<float>()[i]);
  return sum / double(x.numel());
}

}  // namespace

TEST_CASE("first weights have the published deviations, and are functions of seed and name") {
  std::map<std::string, Shape> shapes{{"backbone.x.conv.weight", {32, 16, 3, 3, 3}},
                                      {"backbone.x.conv.bias", {32}},
                                      {"backbone.x.norm.weight", {32}},
                                      {"backbone.x.norm.bias", {32}},
                                      {"projection_layer.0.weight", {64, 100}},
                                      {"projection_layer.0.bias", {6400}},
                                      {"layers.0.multihead_attn.in_proj_weight", {96, 32}},
                                      {"layers.0.multihead_attn.in_proj_bias", {96}},
                                      {"layers.0.multihead_attn.out_proj.bias", {32}}};
  const Weights weights = initial_weights(shapes, 1);
  const auto get = [&](const std::string& name) { return weights.get(name, shapes.at(name)); };
  CHECK(mean_square(get("backbone.x.conv.weight")) == doctest::Approx(2 / (1.0001 * 16 * 27)).epsilon(0.03));
  CHECK(mean_square(get("projection_layer.0.weight")) == doctest::Approx(1 / (3.0 * 100)).epsilon(0.03));
  CHECK(mean_square(get("projection_layer.0.bias")) == doctest::Approx(1 / (3.0 * 100)).epsilon(0.05));
  CHECK(mean_square(get("layers.0.multihead_attn.in_proj_weight")) == doctest::Approx(2 / 128.0).epsilon(0.05));
  CHECK(mean_square(get("backbone.x.norm.weight")) == 1);
  for (const char* zero : {"backbone.x.conv.bias", "backbone.x.norm.bias", "layers.0.multihead_attn.in_proj_bias",
                           "layers.0.multihead_attn.out_proj.bias"}) {
    CHECK(mean_square(get(zero)) == 0);
  }
  const Tensor before = get("projection_layer.0.weight");
  shapes.erase("backbone.x.conv.weight");
  CHECK(same_bits(initial_weights(shapes, 1).get("projection_layer.0.weight", {64, 100}), before));
  CHECK_FALSE(same_bits(initial_weights(shapes, 2).get("projection_layer.0.weight", {64, 100}), before));
}

TEST_CASE("gradients of a batch have the same bits for any threads and whatever is computed again") {
  const auto norm_of = [](int stages, int threads) {
    Context context(options_of(best_cpu_level(), threads));
    const UseContext use(context);
    return gradients(step_of({}, stages));
  };
  const NamedTensors alone = norm_of(0, 1);
  CHECK(alone.count(kModalityTable) == 1);
  CHECK(alone.count("transformer_decoder.layers.0.norm1.weight") == 0);  // which nothing reads
  for (const auto& [stages, threads] : {std::pair(0, 3), {2, 1}, {3, 2}}) {
    CAPTURE(stages);
    const NamedTensors others = norm_of(stages, threads);
    REQUIRE(others.size() == alone.size());
    for (const auto& [name, gradient] : alone) {
      CAPTURE(name);
      CHECK(same_bits(others.at(name), gradient));
    }
  }
}

TEST_CASE("what groups freeze, and a table that does not learn, get no gradient") {
  const NamedTensors some = gradients(step_of(ParameterGroups({{"backbone.*", {}, {}, true}}), 0, false));
  CHECK(some.count(kModalityTable) == 0);
  CHECK(some.count("mask_embed_proj.0.weight") == 1);
  for (const auto& [name, gradient] : some) CHECK(name.rfind("backbone.", 0) != 0);
}

TEST_CASE("a batch reports its losses by scale and by structure, fillers left out") {
  BatchReport report;
  step_of().gradients({sample("one"), sample("two")}, 1, report);
  CHECK(report.details["scales"].size() == 2);
  CHECK(report.loss == doctest::Approx(report.details["scales"][0].number() + report.details["scales"][1].number()));
  const Json& structures = report.details["cases"][1]["structures"];
  CHECK(structures.size() == 2);
  CHECK(structures["c"]["kind"].string() == "negative");
  CHECK(structures["a"]["dice"].number() > 0);
}

TEST_CASE("a structure without an embedding is named") {
  TrainingSample odd = sample("one");
  odd.structures[0] = "spleen";
  BatchReport report;
  CHECK_THROWS_WITH(step_of().gradients({odd}, 1, report), "there is no text embedding for the structure 'spleen'");
}

TEST_CASE("a plan holds what a step really holds, and less where stages are computed again") {
  SegmentationSizes sizes;
  sizes.crop = kCrop;
  sizes.batch = 2;
  sizes.prompts = 3;
  sizes.names = 3;
  Context context(options_of(best_cpu_level(), 2));
  const UseContext use(context);
  const SegmentationTrainingPlan plan = plan_training(tiny_config(), {}, {}, {}, sizes, 0, 0);
  CHECK_THROWS_AS(plan_training(tiny_config(), {}, {}, {}, sizes, 0, 1), MemoryError);

  const SegmentationStep step = step_of();
  int64_t numbers = 0;
  for (const auto& [name, parameter] : step.parameters()) numbers += parameter.numel();
  CHECK(plan.learnt == numbers);
  CHECK(plan.frozen == 0);
  Optimiser optimiser({});
  context.memory()->reset_peak();
  for (int round = 0; round < 2; ++round) optimiser.step(step.parameters(), gradients(step), 1e-3);
  const int64_t held = context.memory()->peak_bytes();
  CHECK(held <= plan.step_bytes + (1 << 16));
  CHECK(held >= plan.step_bytes * 9 / 10);
}
