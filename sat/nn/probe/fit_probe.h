// Private. Fitting a linear probe: several candidates on the training rows, of which the validation rows choose one and
// its thresholds. Knows no files; how well it does on rows of neither kind is evaluation.h's.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "sat/nn/evaluation/targets.h"
#include "sat/nn/probe/lbfgs.h"
#include "sat/nn/probe/linear_probe.h"
#include "sat/nn/probe/objective.h"

namespace sat {

enum class FitMethod : uint8_t {
  lbfgs,  // to the least penalised loss; candidates are penalties
  sgd,    // the official recipe; candidates are rates for a batch of 256
};
const char* name_of(FitMethod method);
FitMethod parse_fit_method(const std::string& name);

/// What the validation rows choose by; the mean over labels of the first three, the highest, or the lowest loss.
enum class Criterion : uint8_t { auc, auprc, loss };
const char* name_of(Criterion criterion);
Criterion parse_criterion(const std::string& name);

/// Penalties of L-BFGS, and the published rates of SGD.
std::vector<double> usual_candidates(FitMethod method);

struct FitOptions {
  FitMethod method = FitMethod::lbfgs;
  std::vector<double> candidates;  // none: usual_candidates(); more than one needs validation rows
  bool standardise = true;         // by mean and deviation of the training rows
  bool balanced = false;           // balanced_weights() of the training rows, else `weights`
  ClassWeights weights;            // empty: equal
  Criterion criterion = Criterion::auc;
  LbfgsOptions lbfgs;
  int64_t steps = 12500, batch = 128;                           // of SGD
  uint64_t seed = 0;                                            // of SGD
  std::function<void(int64_t done, int64_t all)> on_candidate;  // after each one
};

struct Candidate {
  double value = 0;                  // penalty or rate
  double training_loss = 0;          // without the penalty
  std::optional<double> validation;  // by the criterion; none without validation rows, or where it is not defined
  int64_t iterations = 0;
  double gradient = 0;  // of L-BFGS: the largest element at the end
  bool converged = true;
};

struct FittedProbe {
  LinearProbe probe;
  std::vector<Candidate> candidates;
  size_t chosen = 0;
  bool thresholds_chosen = false;  // on validation rows; else they are 0.5
};

/// features [N, C] and targets of N rows on the CPU; `labels`: names. L-BFGS finds the least of the sum over labels of
/// each label's mean loss, + penalty / 2 * |W|^2, biases without; SGD that of the mean over all answers. The result
/// depends neither on the number of threads nor on rows in neither list.
FittedProbe fit_probe(const Tensor& features, const Targets& targets, const std::vector<std::string>& labels,
                      const std::vector<int64_t>& training, const std::vector<int64_t>& validation,
                      const FitOptions& options);

/// The rows of a table of features, and of targets.
Tensor rows_of(const Tensor& features, const std::vector<int64_t>& rows);
Targets rows_of(const Targets& targets, const std::vector<int64_t>& rows);

}  // namespace sat
