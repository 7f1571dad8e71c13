// Private. The scores of a classifier on rows that it was not fitted on, with intervals by the bootstrap, and means
// over labels. What is not defined is none, never a guess.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "sat/nn/evaluation/interval.h"
#include "sat/nn/evaluation/targets.h"
#include "sat/tensor/tensor.h"

namespace sat {

struct Score {
  std::optional<double> value;
  std::optional<Interval> interval;  // none where the value has none, or fewer than half of the samples have one
};

struct LabelScores {
  int64_t present = 0, absent = 0, unknown = 0;  // rows
  double threshold = 0.5;                        // from which on a row is taken for present; of classes meaningless
  Score auc, auprc, accuracy, f1;
};

struct Evaluation {
  std::vector<LabelScores> labels;
  LabelScores mean;  // over the labels that have a value; of classes the accuracy is that of the most likely class
};

struct BootstrapOptions {
  int64_t samples = 1000;
  double confidence = 0.95;  // percentiles of the samples, interpolated linearly
  uint64_t seed = 0;
  std::vector<int64_t> groups;  // of each row, from 0, drawn together; none: rows are drawn one by one
};

/// probabilities [rows, K] on the CPU. A class is decided for where it is the most likely one (of equals the first), a
/// label where its probability reaches the threshold. Results do not depend on the number of threads.
Evaluation evaluate(const Tensor& probabilities, const Targets& targets, const std::vector<double>& thresholds,
                    const BootstrapOptions& bootstrap = {});

/// The mean over labels of one score, without intervals: what models are chosen by. None where no label has one.
std::optional<double> mean_auc(const Tensor& probabilities, const Targets& targets);
std::optional<double> mean_average_precision(const Tensor& probabilities, const Targets& targets);

}  // namespace sat
