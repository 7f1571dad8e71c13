// Private. The loss of a linear probe and its gradient, in double: binary cross-entropy for labels, cross-entropy for
// classes. Knows nothing of optimisers.
#pragma once

#include <cstdint>
#include <vector>

#include "sat/nn/evaluation/targets.h"
#include "sat/tensor/tensor.h"

namespace sat {

/// What rows weigh by their answer: [K] each. Of classes only `present` counts.
struct ClassWeights {
  std::vector<double> present, absent;
};
/// All ones.
ClassWeights equal_weights(int64_t labels);
/// Each answer of a label, and each class, weighs the same in total over these rows: rows / (answers * rows with this
/// one), as scikit-learn's "balanced". A label with one answer only keeps ones.
ClassWeights balanced_weights(const Targets& targets, const std::vector<int64_t>& rows);

/// Means and deviations of channels.
struct Standardisation {
  std::vector<double> mean, deviation;  // [C]
};
Standardisation no_standardisation(int64_t channels);
/// Of these rows; a channel that is the same in all of them gets the deviation 1.
Standardisation standardisation_of(const Tensor& features, const std::vector<int64_t>& rows);

/// How the losses of many labels become one number.
enum class Reduction : uint8_t {
  mean,  // over all known answers (classes: weighted mean over rows), as PyTorch's losses have it
  sum,   // over labels, of each label's mean: then no label's fit depends on the other labels
};

class ProbeObjective {
 public:
  /// Holds all of them by reference: they must outlive it. features [N, C] f32 on the CPU; targets of N rows.
  ProbeObjective(const Tensor& features, const Standardisation& standardisation, const Targets& targets,
                 const ClassWeights& weights, Reduction reduction);

  int64_t channels() const { return C_; }
  int64_t parameters() const { return K_ * (C_ + 1); }

  /// The loss over some rows, unknown answers left out. `parameters`: weight [K, C], then bias [K]; `gradient`, if not
  /// null, is as long. The same bits for any number of threads.
  double operator()(const std::vector<double>& parameters, const std::vector<int64_t>& rows,
                    std::vector<double>* gradient) const;

 private:
  struct Part;
  std::vector<double> scales(const std::vector<int64_t>& rows) const;

  const Tensor& features_;
  const Standardisation& standardisation_;
  const Targets& targets_;
  const ClassWeights& weights_;
  Reduction reduction_;
  int64_t C_, K_;
};

}  // namespace sat
