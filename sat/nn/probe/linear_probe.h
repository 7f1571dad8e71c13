// Private. A linear probe: one dense layer on features of a frozen encoder (rad-dino.md 10.1). Applying it; fitting is
// fit_probe.h's, files are probe_file.h's.
#pragma once

#include <string>
#include <vector>

#include "sat/tensor/tensor.h"

namespace sat {

struct LinearProbe {
  std::vector<std::string> labels;  // K names of labels, or of classes
  bool exclusive = false;           // classes: probabilities by softmax, else by sigmoid
  Tensor weight, bias;              // [K, C], [K]
  Tensor mean, deviation;           // [C]: features are taken as (x - mean) / deviation
  std::vector<double> thresholds;   // [K]: from which probability on a label counts as there

  int64_t channels() const { return weight.shape[1]; }
};

/// Throws Error, naming `source`, for sizes that do not fit each other, values that are not finite, deviations that are
/// not positive and thresholds outside [0, 1].
void check_probe(const LinearProbe& probe, const std::string& source);

/// [N, C] -> [N, K]. A row's result does not depend on the others.
Tensor probe_logits(const LinearProbe& probe, const Tensor& features);
/// The same as probabilities.
Tensor probe_probabilities(const LinearProbe& probe, const Tensor& features);
/// Logits to probabilities, in double.
Tensor probabilities_of(const Tensor& logits, bool exclusive);

/// The official linear classifier's input: the CLS tokens [B, C] of the last `blocks` blocks, earliest first, and where
/// `patches` [B, P, C] of the last block are given, their mean. All after the model's last norm.
Tensor probe_input(const std::vector<Tensor>& cls, int64_t blocks, const Tensor& patches = {});

}  // namespace sat
