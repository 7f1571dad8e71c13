// The optimiser against recorded values of torch, its groups, clipping, and the same bits for any number of threads.
#include <doctest/doctest.h>

#include <cmath>

#include "sat/io/words/json.h"
#include "sat/nn/train/optimiser/optimiser.h"
#include "sat/tensor/context.h"
#include "tests/support/golden.h"
#include "tests/support/levels.h"

using namespace sat;
using namespace sat::test;

namespace {

const Json& recorded() {
  static const Json json = Json::parse(read_text(golden_path("train/optimiser.json")), "optimiser.json");
  return json;
}

NamedTensors tensors_of(const Json& values) {
  NamedTensors tensors;
  for (const auto& [name, numbers] : values.members()) {
    const std::vector<double> all = numbers.numbers();
    tensors[name] =
        from_values(Shape(recorded()["shapes"][name].integers()), std::vector<float>(all.begin(), all.end()));
  }
  return tensors;
}

/// "" or the first step and parameter that is not as torch left it.
std::string difference(const std::string& run, const OptimiserOptions& options) {
  const NamedTensors parameters = tensors_of(recorded()["start"]);
  Optimiser optimiser(options);
  for (size_t i = 0; i < recorded()["rates"].size(); ++i) {
    optimiser.step(parameters, tensors_of(recorded()["gradients"][i]), recorded()["rates"][i].number());
    for (const auto& [name, want] : tensors_of(recorded()[run][i])) {
      const std::string wrong = mismatch(parameters.at(name), want, {3e-7, 1e-8});
      if (!wrong.empty()) return "step " + std::to_string(i + 1) + ", " + name + ": " + wrong;
    }
  }
  return "";
}

}  // namespace

TEST_CASE("AdamW moves parameters as torch's, those included that have no gradient in some steps") {
  CHECK(difference("adamw", {}) == "");
  OptimiserOptions other;
  other.beta1 = 0.8;
  other.beta2 = 0.95;
  other.eps = 1e-4;
  other.weight_decay = 0.3;
  CHECK(difference("adamw_other", other) == "");
}

TEST_CASE("gradient descent with momentum and decay moves parameters as torch's") {
  OptimiserOptions options;
  options.method = OptimiserMethod::sgd;
  options.weight_decay = 0.05;
  CHECK(difference("sgd", options) == "");
}

TEST_CASE("a parameter without a gradient keeps value and moments, and counts no step") {
  const NamedTensors parameters{{"a", full({3}, 1)}, {"b", full({3}, 1)}};
  Optimiser optimiser({});
  optimiser.step(parameters, {{"a", full({3}, 2)}}, 0.1);
  CHECK(same_bits(parameters.at("b"), full({3}, 1)));
  CHECK(optimiser.moments().size() == 1);
  CHECK(optimiser.moments().at("a").steps == 1);
}

TEST_CASE("what a later group says of a name counts: rate, decay and freezing") {
  const ParameterGroups groups(
      {{"backbone.*", 0.5, 0.0, {}}, {"*.bias", {}, {}, true}, {"backbone.bias", {}, {}, false}});
  CHECK(groups.learns("backbone.weight"));
  CHECK_FALSE(groups.learns("head.bias"));
  CHECK(groups.learns("backbone.bias"));
  CHECK(groups.of("backbone.bias").rate == 0.5);
  OptimiserOptions options;
  options.method = OptimiserMethod::sgd;
  options.momentum = 0;
  options.weight_decay = 1;
  const NamedTensors parameters{{"backbone.weight", full({1}, 3)}, {"head.weight", full({1}, 3)}};
  Optimiser(options, groups).step(parameters, {{"backbone.weight", full({1}, 1)}, {"head.weight", full({1}, 1)}}, 0.5);
  CHECK(parameters.at("backbone.weight").data<float>()[0] == 2.75F);
  CHECK(parameters.at("head.weight").data<float>()[0] == 1);
  CHECK_THROWS_WITH(Optimiser(options, groups).step({{"head.bias", full({1}, 3)}}, {{"head.bias", full({1}, 1)}}, 1),
                    "a gradient of 'head.bias', which is frozen");
}

TEST_CASE("a pattern that fits no parameter is refused") {
  CHECK_THROWS_WITH(ParameterGroups({{"backbon.*", {}, {}, true}}).check({"backbone.a", "head.b"}),
                    "the pattern 'backbon.*' matches none of the 2 parameters, such as 'backbone.a'");
}

TEST_CASE("stars in patterns stand for any characters, and nothing else does") {
  CHECK(matches("a*c", "ac"));
  CHECK(matches("a*c", "a.b.c"));
  CHECK(matches("*.convs.*.weight", "x.convs.0.convs.1.weight"));
  CHECK_FALSE(matches("a*c", "a.b.cd"));
  CHECK_FALSE(matches("a.c", "abc"));
  CHECK_FALSE(matches("", "a"));
  CHECK(matches("**", ""));
}

TEST_CASE("gradients are clipped by their common norm as torch does it") {
  NamedTensors gradients = tensors_of(recorded()["gradients"][3]);
  const double norm = gradient_norm(gradients);
  CHECK(norm == doctest::Approx(recorded()["norm"].number()).epsilon(1e-6));
  clip_gradients(gradients, norm, 1.5);
  for (const auto& [name, want] : tensors_of(recorded()["clipped"])) {
    CHECK(mismatch(gradients.at(name), want, {3e-7, 0}) == "");
  }
  const double small = gradient_norm(gradients);
  clip_gradients(gradients, small, 2);
  CHECK(gradient_norm(gradients) == small);
}

TEST_CASE("gradients of several batches are summed, name by name") {
  NamedTensors sum{{"a", full({2}, 1)}};
  add_gradients(sum, {{"a", full({2}, 2)}, {"b", full({1}, 5)}});
  scale_gradients(sum, 0.5);
  CHECK(same_bits(sum.at("a"), full({2}, 1.5)));
  CHECK(same_bits(sum.at("b"), full({1}, 2.5)));
}

TEST_CASE("a gradient that is not finite stops a step with its name") {
  CHECK_THROWS_WITH(check_finite({{"a", full({2}, 1)}, {"b", full({3}, NAN)}}, 7),
                    "step 7: the gradient of 'b' holds 3 of 3 values that are not finite: training went wrong; a lower "
                    "learning rate or \"clip\" may help");
}

TEST_CASE("a step, a norm and an average have the same bits for any number of threads") {
  const auto compute = [] {
    const Shape shape{3, 33333};
    const NamedTensors parameters{{"a", field("a", shape, 1)}};
    NamedTensors average{{"a", field("average", shape, 1)}}, gradients{{"a", field("g", shape, 1)}};
    clip_gradients(gradients, gradient_norm(gradients), 1);
    Optimiser optimiser({});
    for (int i = 0; i < 2; ++i) optimiser.step(parameters, gradients, 0.01);
    update_average(average, parameters, 0.9);
    return average.at("a");
  };
  CHECK(difference_by_threads(compute) == "");
}
