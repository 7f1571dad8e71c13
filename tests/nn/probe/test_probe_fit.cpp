// Fitting linear probes: scikit-learn's answers, the published code's steps, and the same bits whoever computes.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "sat/io/words/json.h"
#include "sat/nn/probe/fit_probe.h"
#include "sat/nn/probe/lbfgs.h"
#include "sat/nn/probe/split.h"
#include "sat/tensor/context.h"
#include "tests/support/golden.h"
#include "tests/support/parity/heads/probe_parity.h"

using namespace sat;
using namespace sat::test;

namespace {

Json recorded() {
  const std::string path = golden_path("probe/sklearn.json");
  return Json::parse(read_text(path), path);
}

/// The recorded rows (README.md there).
Tensor recorded_features(const Json& json) {
  const int64_t N = json["rows"].integer(), C = json["channels"].integer();
  const std::vector<float> scale = {1, 10, 0.1F, 3, 1, 1}, offset = {0, 5, -2, 0, 0, 1};
  Tensor x = field("features", {N, C}, 1);
  for (int64_t i = 0; i < x.numel(); ++i) {
    float& value = x.data<float>()[i];
    value = value * scale[size_t(i % C)] + offset[size_t(i % C)];
  }
  return x;
}

/// Recorded label `which`, or the classes for -1.
Targets recorded_targets(const Json& json, int64_t which) {
  if (which >= 0) {
    const std::vector<int64_t> states = json["labels"][size_t(which)].integers();
    return {1, false, {states.begin(), states.end()}};
  }
  Targets targets{3, true, {}};
  for (const int64_t chosen : json["classes"].integers()) {
    for (int64_t k = 0; k < 3; ++k) targets.states.push_back(k == chosen);
  }
  return targets;
}

std::vector<int64_t> range(int64_t first, int64_t last) {
  std::vector<int64_t> rows;
  for (int64_t i = first; i < last; ++i) rows.push_back(i);
  return rows;
}

std::vector<std::string> names(int64_t count) {
  std::vector<std::string> found;
  for (int64_t k = 0; k < count; ++k) found.push_back("label " + std::to_string(k));
  return found;
}

/// Rows with labels that follow some channels, a tenth unknown.
struct Toy {
  Tensor features;
  Targets targets;
  Toy(int64_t rows, int64_t channels, int64_t labels, bool exclusive = false)
      : features(field("toy", {rows, channels}, 1)), targets{labels, exclusive, {}} {
    const Tensor noise = field("noise", {rows, labels}, 0.8);
    for (int64_t i = 0; i < rows; ++i) {
      std::vector<float> z;
      for (int64_t k = 0; k < labels; ++k) {
        z.push_back(features.data<float>()[i * channels + k] + noise.data<float>()[i * labels + k]);
      }
      const int64_t chosen = std::max_element(z.begin(), z.end()) - z.begin();
      for (int64_t k = 0; k < labels; ++k) {
        const bool unknown = !exclusive && (i * labels + k) % 10 == 9;
        targets.states.push_back(exclusive ? chosen == k : unknown ? -1 : z[size_t(k)] > 0.2F);
      }
    }
  }
};

FittedProbe fit(const Toy& toy, FitOptions options, int threads = 1) {
  ContextOptions with;
  with.threads = threads;
  Context context(with);
  const UseContext use(context);
  const int64_t N = toy.targets.rows();
  return fit_probe(toy.features, toy.targets, names(toy.targets.labels), range(0, N * 3 / 4), range(N * 3 / 4, N),
                   options);
}

std::string refusal(const std::function<void()>& body) {
  try {
    body();
    return "taken";
  } catch (const Error& error) {
    return error.what();
  }
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("logits, losses, gradients and steps are those of the published linear classifier") {
  const std::vector<ParityLine> lines = compare_probe(golden_path("probe"));
  CHECK(lines.size() == 1 + 4 * 8);
  for (const ParityLine& line : lines) {
    CAPTURE(line.quantity);
    CHECK(line.error <= line.limit);
  }
}

TEST_CASE("L-BFGS ends at the lowest point of a quadratic form and of Rosenbrock's valley") {
  const auto quadratic = [](const std::vector<double>& x, std::vector<double>& gradient) {
    double value = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double steep = std::pow(10.0, double(i)), off = x[i] - double(i);
      value += steep * off * off / 2;
      gradient[i] = steep * off;
    }
    return value;
  };
  const LbfgsResult found = minimise(quadratic, std::vector<double>(5));
  CHECK(found.converged);
  for (size_t i = 0; i < 5; ++i) CHECK(found.x[i] == doctest::Approx(double(i)).epsilon(1e-7));

  const auto valley = [](const std::vector<double>& x, std::vector<double>& gradient) {
    const double a = 1 - x[0], b = x[1] - x[0] * x[0];
    gradient = {-2 * a - 400 * b * x[0], 200 * b};
    return a * a + 100 * b * b;
  };
  const LbfgsResult rosenbrock = minimise(valley, {-1.2, 1});
  CHECK(rosenbrock.converged);
  CHECK(rosenbrock.x[0] == doctest::Approx(1).epsilon(1e-6));
  CHECK(rosenbrock.evaluations < 100);
}

TEST_CASE("L-BFGS says so when it did not get to the end") {
  const auto slope = [](const std::vector<double>& x, std::vector<double>& gradient) {
    gradient = {-std::exp(-x[0])};
    return std::exp(-x[0]);
  };
  LbfgsOptions options;
  options.iterations = 3;
  const LbfgsResult found = minimise(slope, {0}, options);
  CHECK(!found.converged);
  CHECK(found.iterations == 3);
}

TEST_CASE("fits by L-BFGS are scikit-learn's logistic regression, classes and balanced weights included") {
  const Json json = recorded();
  const Tensor features = recorded_features(json);
  for (const Json& want : json["fits"].items()) {
    const int64_t label = want["label"].integer();
    CAPTURE(want.dump().substr(0, 60));
    const Targets targets = recorded_targets(json, label);
    FitOptions options;
    options.candidates = {want["penalty"].number()};
    options.balanced = want["balanced"].boolean();
    options.lbfgs.tolerance = 1e-9;
    const FittedProbe fitted =
        fit_probe(features, targets, names(targets.labels), range(0, targets.rows()), {}, options);
    CHECK(fitted.candidates[0].converged);
    CHECK(!fitted.thresholds_chosen);
    const Tensor &weight = fitted.probe.weight, &bias = fitted.probe.bias;
    double error = 0, mean_bias = 0;
    for (int64_t k = 0; k < targets.labels; ++k) mean_bias += double(bias.data<float>()[k]) / double(targets.labels);
    for (int64_t k = 0; k < targets.labels; ++k) {
      const std::vector<double> row = want["weight"][size_t(k)].numbers();
      for (size_t c = 0; c < row.size(); ++c) {
        error = std::max(error, std::abs(row[c] - double(weight.select(k).data<float>()[c])));
      }
      // One number may be added to the biases of all classes; recorded are those with mean 0.
      const double own = double(bias.data<float>()[k]) - (targets.exclusive ? mean_bias : 0);
      error = std::max(error, std::abs(want["bias"][size_t(k)].number() - own));
    }
    CHECK(error < 2e-5);
  }
}

TEST_CASE("the gradient is the derivative of the loss, with unknown answers and weights") {
  for (const bool exclusive : {false, true}) {
    const Toy toy(70, 5, 3, exclusive);
    const std::vector<int64_t> rows = range(3, 67);
    const Standardisation standardisation = standardisation_of(toy.features, rows);
    const ClassWeights weights = balanced_weights(toy.targets, rows);
    for (const Reduction reduction : {Reduction::mean, Reduction::sum}) {
      const ProbeObjective objective(toy.features, standardisation, toy.targets, weights, reduction);
      const Tensor start = field("start", {objective.parameters()}, 0.5);
      std::vector<double> x(start.data<float>(), start.data<float>() + start.numel()), gradient;
      objective(x, rows, &gradient);
      for (size_t i = 0; i < x.size(); ++i) {
        const double h = 1e-5, at = x[i];
        x[i] = at + h;
        const double up = objective(x, rows, nullptr);
        x[i] = at - h;
        const double down = objective(x, rows, nullptr);
        x[i] = at;
        CHECK(gradient[i] == doctest::Approx((up - down) / (2 * h)).epsilon(1e-6).scale(0.01));
      }
    }
  }
}

TEST_CASE("a probe has the same bits for any number of threads, by both methods") {
  for (const FitMethod method : {FitMethod::lbfgs, FitMethod::sgd}) {
    const Toy toy(1000, 9, 3);
    FitOptions options;
    options.method = method;
    options.steps = 60;
    const FittedProbe one = fit(toy, options, 1), many = fit(toy, options, 5);
    CHECK(mismatch(one.probe.weight, many.probe.weight, {}) == "");
    CHECK(mismatch(one.probe.bias, many.probe.bias, {}) == "");
    CHECK(one.probe.thresholds == many.probe.thresholds);
    CHECK(one.chosen == many.chosen);
  }
}

TEST_CASE("a label's fit by L-BFGS does not depend on the labels beside it") {
  const Toy toy(300, 6, 3);
  FitOptions options;
  options.candidates = {0.01};
  options.lbfgs.tolerance = 1e-10;
  const FittedProbe together = fit(toy, options);
  Toy alone = toy;
  alone.targets = {1, false, {}};
  for (int64_t i = 0; i < 300; ++i) alone.targets.states.push_back(toy.targets.row(i)[1]);
  CHECK(mismatch(fit(alone, options).probe.weight.select(0), together.probe.weight.select(1), {1e-5, 1e-6}) == "");
}

TEST_CASE("rows in neither list change nothing, and unknown answers are no answers") {
  Toy toy(400, 6, 2);
  const std::vector<int64_t> training = range(0, 200), validation = range(200, 300);
  const FittedProbe before = fit_probe(toy.features, toy.targets, names(2), training, validation, {});
  for (int64_t i = 300; i < 400; ++i) toy.targets.states[size_t(2 * i)] = 1;
  for (int64_t i = 0; i < 10; ++i) toy.targets.states[size_t(2 * i)] = toy.targets.states[size_t(2 * i + 1)] = -1;
  const FittedProbe after = fit_probe(toy.features, toy.targets, names(2), training, validation, {});
  CHECK(mismatch(before.probe.weight, after.probe.weight, {}) != "");
  FitOptions raw;
  raw.standardise = false;
  const FittedProbe whole = fit_probe(toy.features, toy.targets, names(2), training, validation, raw);
  const FittedProbe less = fit_probe(toy.features, toy.targets, names(2), range(10, 200), validation, raw);
  CHECK(mismatch(whole.probe.weight, less.probe.weight, {1e-4, 1e-5}) == "");
}

TEST_CASE("validation rows choose the candidate and the thresholds") {
  const Toy toy(800, 30, 2);
  for (const Criterion criterion : {Criterion::auc, Criterion::auprc, Criterion::loss}) {
    FitOptions options;
    options.criterion = criterion;
    const FittedProbe fitted = fit(toy, options);
    REQUIRE(fitted.candidates.size() == 5);
    CHECK(fitted.thresholds_chosen);
    const double sign = criterion == Criterion::loss ? -1 : 1;
    for (const Candidate& candidate : fitted.candidates) {
      CHECK(sign * *candidate.validation <= sign * *fitted.candidates[fitted.chosen].validation);
    }
  }
}

TEST_CASE("the official recipe learns, with its own rates") {
  const Toy toy(600, 8, 3, true);
  FitOptions options;
  options.method = FitMethod::sgd;
  options.standardise = false;
  options.steps = 300;
  const FittedProbe fitted = fit(toy, options);
  CHECK(fitted.candidates.size() == 13);
  CHECK(*fitted.candidates[fitted.chosen].validation > 0.85);
  FitOptions other = options;
  other.seed = 1;
  CHECK(mismatch(fit(toy, other).probe.weight, fitted.probe.weight, {}) != "");
}

TEST_CASE("what cannot be fitted is refused with the numbers") {
  Toy toy(40, 3, 2);
  const auto with = [&](const FitOptions& options) { return refusal([&] { fit(toy, options); }); };
  FitOptions negative;
  negative.candidates = {-1};
  CHECK(contains(with(negative), "a penalty of -1"));
  CHECK(contains(refusal([&] { fit_probe(toy.features, toy.targets, names(2), range(0, 40), {}, {}); }),
                 "5 candidates and no validation rows"));
  CHECK(contains(refusal([&] { fit_probe(toy.features, toy.targets, names(2), {}, range(0, 40), {}); }),
                 "no rows to fit"));
  CHECK(contains(refusal([&] { fit_probe(toy.features, toy.targets, names(3), range(0, 40), {}, {}); }), "3 names"));
  for (int64_t i = 0; i < 40; ++i) toy.targets.states[size_t(2 * i + 1)] = 0;
  CHECK(contains(with({}), "label label 1 is there in 0 and not in 30 of 30 training rows"));
}

TEST_CASE("rows are held out by group, the same ones whatever the order") {
  std::vector<std::string> groups;
  for (int i = 0; i < 200; ++i) groups.push_back("patient " + std::to_string(i / 4));
  const std::vector<uint8_t> held = hold_out(groups, 0.25, 7);
  std::map<std::string, uint8_t> of_group;
  for (size_t i = 0; i < held.size(); ++i) {
    CHECK(of_group.emplace(groups[i], held[i]).first->second == held[i]);
  }
  CHECK(std::count(held.begin(), held.end(), 1) == 52);
  std::vector<std::string> turned(groups.rbegin(), groups.rend());
  std::vector<uint8_t> again = hold_out(turned, 0.25, 7);
  std::reverse(again.begin(), again.end());
  CHECK(again == held);
  CHECK(hold_out(groups, 0.25, 8) != held);
  CHECK(contains(refusal([] { hold_out({"a", "a"}, 0.5, 0); }), "takes two groups"));
  CHECK(number_groups({"b", "a", "b"}) == std::vector<int64_t>{0, 1, 0});
}

TEST_CASE("a probe's logits do not depend on the rows beside it, and standardisation is part of it") {
  const Toy toy(64, 6, 2);
  const LinearProbe probe = fit(toy, {}).probe;
  const Tensor all = probe_logits(probe, toy.features);
  for (const int64_t row : {0, 13, 63}) {
    CHECK(mismatch(probe_logits(probe, toy.features.slice(row, row + 1)), all.slice(row, row + 1), {}) == "");
    for (int64_t k = 0; k < 2; ++k) {
      double z = double(probe.bias.data<float>()[k]);
      for (int64_t c = 0; c < 6; ++c) {
        z += double(probe.weight.data<float>()[k * 6 + c]) *
             (double(toy.features.data<float>()[row * 6 + c]) - double(probe.mean.data<float>()[c])) /
             double(probe.deviation.data<float>()[c]);
      }
      CHECK(double(all.data<float>()[row * 2 + k]) == doctest::Approx(z).epsilon(1e-4).scale(0.1));
    }
  }
}
