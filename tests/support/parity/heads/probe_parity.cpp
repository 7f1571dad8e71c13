// Parity of linear probes: logits, losses, gradients and steps.
#include "tests/support/parity/heads/probe_parity.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "sat/io/words/json.h"
#include "sat/nn/probe/linear_probe.h"
#include "sat/nn/probe/objective.h"
#include "sat/nn/probe/sgd.h"
#include "tests/support/golden.h"

namespace sat::test {

namespace {

constexpr double kArrays = 2e-6;  // absolute, of logits, gradients and parameters; losses relative

/// unit(name) of the generator, for whole numbers that are derived from it.
std::vector<double> unit(const std::string& name, int64_t count) {
  const Tensor x = field(name, {count}, 0.5, 0.5);
  std::vector<double> values;
  for (int64_t i = 0; i < count; ++i) values.push_back(double(x.data<float>()[i]));
  return values;
}

double largest(const std::vector<double>& got, size_t first, const std::vector<double>& want) {
  if (first + want.size() > got.size()) return std::numeric_limits<double>::infinity();
  double found = 0;
  for (size_t i = 0; i < want.size(); ++i) found = std::max(found, std::abs(got[first + i] - want[i]));
  return found;
}

/// A gradient or parameters [K, C], then [K], against the recorded norm, first and middle four, and the bias.
double difference_of(const std::vector<double>& got, const Json& want) {
  const std::vector<double> bias = want["bias"].numbers();
  const size_t weights = got.size() - bias.size();
  double squares = 0;
  for (size_t i = 0; i < weights; ++i) squares += got[i] * got[i];
  const Json& weight = want["weight"];
  return std::max({std::abs(std::sqrt(squares) - weight["norm"].number()), largest(got, 0, weight["first"].numbers()),
                   largest(got, weights / 2, weight["mid"].numbers()), largest(got, weights, bias)});
}

struct Case {
  std::string prefix;
  int64_t batch, width, classes, patches;
  double rate;
  Targets labels, one_class;
};

Case read_case(const std::string& folder) {
  const Json json = Json::parse(read_text(folder + "/case.json"), folder + "/case.json");
  Case one{};
  one.prefix = json["prefix"].string();
  one.batch = json["batch"].integer();
  one.width = json["width"].integer();
  one.classes = json["classes"].integer();
  one.patches = json["grid"][0].integer() * json["grid"][1].integer();
  one.rate = json["lr"].number();
  const int64_t B = one.batch, K = one.classes;
  one.labels = {K, false, std::vector<int8_t>(size_t(B * K))};
  one.one_class = {K, true, std::vector<int8_t>(size_t(B * K))};
  const std::vector<double> labels = unit(one.prefix + "labels", B * K), chosen = unit(one.prefix + "class", B);
  for (size_t i = 0; i < labels.size(); ++i) one.labels.states[i] = labels[i] < 0.3;
  for (int64_t b = 0; b < B; ++b) one.one_class.states[size_t(b * K + int64_t(chosen[size_t(b)] * double(K)))] = 1;
  return one;
}

/// Recorded labels against those of the generator: 1 for each that differs.
double states_differ(const Case& one, const Json& values) {
  double wrong = 0;
  for (int64_t b = 0; b < one.batch; ++b) {
    const std::vector<int64_t> labels = values["labels"][size_t(b)].integers();
    const int64_t chosen = values["class"][size_t(b)].integer();
    for (int64_t k = 0; k < one.classes; ++k) {
      wrong += one.labels.row(b)[k] != labels[size_t(k)];
      wrong += one.one_class.row(b)[k] != (chosen == k);
    }
  }
  return wrong;
}

void compare_losses(const Case& one, const std::string& name, const Tensor& features,
                    const std::vector<double>& parameters, const Json& want, std::vector<ParityLine>& lines) {
  std::vector<int64_t> rows;
  for (int64_t b = 0; b < one.batch; ++b) rows.push_back(b);
  const Standardisation none = no_standardisation(features.shape[1]);
  const ClassWeights equal = equal_weights(one.classes);
  const auto compare = [&](const char* loss, const Targets& targets) {
    const ProbeObjective objective(features, none, targets, equal, Reduction::mean);
    std::vector<double> gradient;
    const double value = objective(parameters, rows, &gradient), recorded = want[loss]["loss"].number();
    lines.push_back({name + " " + loss, std::abs(value / recorded - 1), kArrays});
    lines.push_back({name + " " + loss + " gradient", difference_of(gradient, want[loss]), kArrays});
  };
  compare("bce", one.labels);
  compare("cross_entropy", one.one_class);

  const ProbeObjective objective(features, none, one.one_class, equal, Reduction::mean);
  const Json& sgd = want["sgd"];
  std::vector<double> x = parameters, gradient, losses;
  Momentum momentum(0.9);
  for (size_t step = 0; step < sgd["losses"].size(); ++step) {
    losses.push_back(objective(x, rows, &gradient));
    momentum.step(x, gradient, one.rate);
  }
  lines.push_back({name + " sgd losses", largest(losses, 0, sgd["losses"].numbers()), kArrays});
  lines.push_back({name + " sgd parameters", difference_of(x, sgd), kArrays});
}

void compare_one(const Case& one, const Json& want, std::vector<ParityLine>& lines) {
  const int64_t blocks = want["blocks"].integer();
  const bool mean_patch = want["mean_patch"].boolean();
  constexpr int64_t kBlocks = 4;  // recorded, of which a probe takes the last
  std::vector<Tensor> cls;
  for (int64_t i = 0; i < kBlocks; ++i) {
    cls.push_back(field(one.prefix + "cls_" + std::to_string(i), {one.batch, one.width}, 1));
  }
  const Tensor patches =
      field(one.prefix + "patches_" + std::to_string(kBlocks - 1), {one.batch, one.patches, one.width}, 1);
  const Tensor features = probe_input(cls, blocks, mean_patch ? patches : Tensor());
  const std::string key = "probe_" + std::to_string(blocks) + "_" + (mean_patch ? "1" : "0") + ".linear.";
  const std::string name = "probe of " + std::to_string(blocks) + (mean_patch ? " + mean patch" : "");
  const int64_t C = want["dimension"].integer();
  lines.push_back({name + " channels", double(std::abs(features.shape[1] - C)), 0});

  LinearProbe probe;
  probe.labels.assign(size_t(one.classes), "");
  probe.weight = field(one.prefix + key + "weight", {one.classes, C}, 1 / std::sqrt(double(C)));
  probe.bias = field(one.prefix + key + "bias", {one.classes}, 0.02);
  probe.mean = full({C}, 0);
  probe.deviation = full({C}, 1);
  const Tensor logits = probe_logits(probe, features);
  double error = 0;
  for (int64_t b = 0; b < one.batch; ++b) {
    const float* row = logits.data<float>() + b * one.classes;
    error = std::max(error, largest({row, row + one.classes}, 0, want["logits"][size_t(b)].numbers()));
  }
  lines.push_back({name + " logits", error, kArrays});

  std::vector<double> parameters(probe.weight.data<float>(), probe.weight.data<float>() + one.classes * C);
  parameters.insert(parameters.end(), probe.bias.data<float>(), probe.bias.data<float>() + one.classes);
  compare_losses(one, name, features, parameters, want, lines);
}

}  // namespace

std::vector<ParityLine> compare_probe(const std::string& folder) {
  const Case one = read_case(folder);
  const Json values = Json::parse(read_text(folder + "/values.json"), folder + "/values.json");
  std::vector<ParityLine> lines;
  lines.push_back({"labels and classes", states_differ(one, values), 0});
  for (const Json& want : values["probe"].items()) compare_one(one, want, lines);
  return lines;
}

}  // namespace sat::test
