// Candidates, and the choice among them.
#include "sat/nn/probe/fit_probe.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "sat/nn/evaluation/evaluation.h"
#include "sat/nn/evaluation/metrics.h"
#include "sat/nn/probe/sgd.h"
#include "sat/tensor/error.h"
#include "sat/tensor/parallel.h"

namespace sat {

namespace {

LinearProbe probe_of(const std::vector<double>& parameters, const Standardisation& standardisation,
                     const std::vector<std::string>& labels, bool exclusive) {
  const int64_t K = int64_t(labels.size()), C = int64_t(standardisation.mean.size());
  const auto floats = [](const double* from, const Shape& shape) {
    return from_values(shape, std::vector<float>(from, from + shape.numel()));
  };
  LinearProbe probe;
  probe.labels = labels;
  probe.exclusive = exclusive;
  probe.weight = floats(parameters.data(), {K, C});
  probe.bias = floats(parameters.data() + K * C, {K});
  probe.mean = floats(standardisation.mean.data(), {C});
  probe.deviation = floats(standardisation.deviation.data(), {C});
  probe.thresholds.assign(labels.size(), 0.5);
  return probe;
}

/// Loss + penalty / 2 * |W|^2.
Smooth penalised(const ProbeObjective& objective, const std::vector<int64_t>& rows, double penalty) {
  return [&objective, &rows, penalty](const std::vector<double>& x, std::vector<double>& gradient) {
    double loss = objective(x, rows, &gradient);
    const size_t weights = x.size() / size_t(objective.channels() + 1) * size_t(objective.channels());
    for (size_t i = 0; i < weights; ++i) {
      loss += penalty / 2 * x[i] * x[i];
      gradient[i] += penalty * x[i];
    }
    return loss;
  };
}

struct Answer {
  Candidate candidate;
  std::vector<double> parameters;
};

/// From the strongest penalty to the weakest, each from where the one before it ended.
std::vector<Answer> by_lbfgs(const ProbeObjective& objective, const std::vector<int64_t>& rows,
                             const FitOptions& options, const std::vector<double>& penalties) {
  std::vector<Answer> answers;
  std::vector<double> start(size_t(objective.parameters()));
  for (const double penalty : penalties) {
    LbfgsResult result = minimise(penalised(objective, rows, penalty), start, options.lbfgs);
    Candidate candidate;
    candidate.value = penalty;
    candidate.training_loss = objective(result.x, rows, nullptr);
    candidate.iterations = result.iterations;
    candidate.gradient = result.gradient;
    candidate.converged = result.converged;
    start = result.x;
    answers.push_back({candidate, std::move(result.x)});
    if (options.on_candidate) options.on_candidate(int64_t(answers.size()), int64_t(penalties.size()));
  }
  return answers;
}

/// All rates at once, a thread each.
std::vector<Answer> by_sgd(const ProbeObjective& objective, const std::vector<int64_t>& rows, const FitOptions& options,
                           const std::vector<double>& rates) {
  std::vector<Answer> answers(rates.size());
  parallel_for(int64_t(rates.size()), 1, [&](int64_t first, int64_t) {
    Answer& answer = answers[size_t(first)];
    answer.candidate.value = rates[size_t(first)];
    answer.candidate.iterations = options.steps;
    const double rate = answer.candidate.value * double(options.batch) / 256;
    answer.parameters = fit_by_sgd(objective, rows, {rate, options.steps, options.batch, options.seed});
    answer.candidate.training_loss = objective(answer.parameters, rows, nullptr);
  });
  if (options.on_candidate) options.on_candidate(int64_t(rates.size()), int64_t(rates.size()));
  return answers;
}

bool better(const Candidate& a, const Candidate& b, Criterion criterion) {
  if (!a.validation || !b.validation) return a.validation.has_value();
  return criterion == Criterion::loss ? *a.validation < *b.validation : *a.validation > *b.validation;
}

void check(const Tensor& features, const Targets& targets, const std::vector<std::string>& labels,
           const std::vector<int64_t>& training, const FitOptions& options, const std::vector<double>& candidates,
           bool can_choose) {
  SAT_CHECK(features.shape.rank() == 2 && features.shape[0] == targets.rows() && features.shape[1] > 0,
            "features of shape ", features.shape, " for ", targets.rows(), " rows of labels");
  SAT_CHECK(int64_t(labels.size()) == targets.labels && targets.labels > 0, labels.size(), " names for ",
            targets.labels, " labels");
  SAT_CHECK(!training.empty(), "there are no rows to fit on");
  for (const double value : candidates) {
    SAT_CHECK(std::isfinite(value) && (options.method == FitMethod::lbfgs ? value >= 0 : value > 0), "a ",
              options.method == FitMethod::lbfgs ? "penalty" : "rate", " of ", value);
  }
  SAT_CHECK(candidates.size() == 1 || can_choose, candidates.size(),
            " candidates and no validation rows to choose by: give one");
  const auto K = size_t(targets.labels);
  std::vector<int64_t> present(K), absent(K);
  for (const int64_t row : training) {
    for (size_t k = 0; k < K; ++k) {
      present[k] += targets.row(row)[k] == 1;
      absent[k] += targets.row(row)[k] == 0;
    }
  }
  for (size_t k = 0; k < K; ++k) {
    SAT_CHECK(present[k] > 0 && absent[k] > 0, targets.exclusive ? "class " : "label ", labels[k], " is there in ",
              present[k], " and not in ", absent[k], " of ", training.size(),
              " training rows: nothing can be learnt of it");
  }
}

void choose_thresholds(FittedProbe& fitted, const Tensor& probabilities, const Targets& targets) {
  const int64_t K = targets.labels;
  for (int64_t k = 0; k < K; ++k) {
    const std::optional<double> threshold =
        best_threshold(RankedRows(probabilities.data<float>() + k, K, targets.states.data() + k, K, targets.rows()));
    if (threshold) fitted.probe.thresholds[size_t(k)] = *threshold;
  }
  fitted.thresholds_chosen = true;
}

}  // namespace

const char* name_of(FitMethod method) { return method == FitMethod::lbfgs ? "lbfgs" : "sgd"; }

FitMethod parse_fit_method(const std::string& name) {
  for (const FitMethod method : {FitMethod::lbfgs, FitMethod::sgd}) {
    if (name == name_of(method)) return method;
  }
  fail("'", name, "' is not lbfgs or sgd");
}

const char* name_of(Criterion criterion) {
  return criterion == Criterion::auc ? "auc" : criterion == Criterion::auprc ? "auprc" : "loss";
}

Criterion parse_criterion(const std::string& name) {
  for (const Criterion criterion : {Criterion::auc, Criterion::auprc, Criterion::loss}) {
    if (name == name_of(criterion)) return criterion;
  }
  fail("'", name, "' is not auc, auprc or loss");
}

std::vector<double> usual_candidates(FitMethod method) {
  if (method == FitMethod::lbfgs) return {1, 0.1, 0.01, 1e-3, 1e-4};
  return {1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1};
}

Tensor rows_of(const Tensor& features, const std::vector<int64_t>& rows) {
  const int64_t C = features.shape[1];
  Tensor picked({int64_t(rows.size()), C});
  for (size_t i = 0; i < rows.size(); ++i) {
    std::copy_n(features.data<float>() + rows[i] * C, C, picked.data<float>() + int64_t(i) * C);
  }
  return picked;
}

Targets rows_of(const Targets& targets, const std::vector<int64_t>& rows) {
  Targets picked{targets.labels, targets.exclusive, {}};
  for (const int64_t row : rows) {
    picked.states.insert(picked.states.end(), targets.row(row), targets.row(row) + targets.labels);
  }
  return picked;
}

FittedProbe fit_probe(const Tensor& features, const Targets& targets, const std::vector<std::string>& labels,
                      const std::vector<int64_t>& training, const std::vector<int64_t>& validation,
                      const FitOptions& options) {
  std::vector<double> candidates = options.candidates;
  if (candidates.empty()) candidates = usual_candidates(options.method);
  std::sort(candidates.begin(), candidates.end(), std::greater<>());
  check(features, targets, labels, training, options, candidates, !validation.empty());

  const Standardisation standardisation =
      options.standardise ? standardisation_of(features, training) : no_standardisation(features.shape[1]);
  ClassWeights weights = options.balanced ? balanced_weights(targets, training) : options.weights;
  if (weights.present.empty()) weights = equal_weights(targets.labels);
  const ProbeObjective objective(features, standardisation, targets, weights,
                                 options.method == FitMethod::lbfgs ? Reduction::sum : Reduction::mean);
  std::vector<Answer> answers = options.method == FitMethod::lbfgs ? by_lbfgs(objective, training, options, candidates)
                                                                   : by_sgd(objective, training, options, candidates);

  FittedProbe fitted;
  const Tensor judged = rows_of(features, validation);
  const Targets known = rows_of(targets, validation);
  for (size_t i = 0; i < answers.size(); ++i) {
    Candidate& candidate = answers[i].candidate;
    if (!validation.empty()) {
      const LinearProbe probe = probe_of(answers[i].parameters, standardisation, labels, targets.exclusive);
      const Tensor probabilities = probe_probabilities(probe, judged);
      candidate.validation = options.criterion == Criterion::auc ? mean_auc(probabilities, known)
                             : options.criterion == Criterion::auprc
                                 ? mean_average_precision(probabilities, known)
                                 : objective(answers[i].parameters, validation, nullptr);
    }
    fitted.candidates.push_back(candidate);
    if (better(candidate, fitted.candidates[fitted.chosen], options.criterion)) fitted.chosen = i;
  }
  fitted.probe = probe_of(answers[fitted.chosen].parameters, standardisation, labels, targets.exclusive);
  check_probe(fitted.probe, "the fitted probe");
  if (!validation.empty() && !targets.exclusive) {
    choose_thresholds(fitted, probe_probabilities(fitted.probe, judged), known);
  }
  return fitted;
}

}  // namespace sat
