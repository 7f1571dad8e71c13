// Private. Queries of training samples: a frozen text encoder's vectors, computed once, and the modality table, which
// may learn (spec f.4). Knows no files; a bank or a text encoder gives the vectors.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "sat/nn/train/data/sample.h"
#include "sat/nn/train/optimiser/gradients.h"

namespace sat {

/// By which the modality table is known among the parameters of a training.
inline constexpr const char* kModalityTable = "text.modality_embed.weight";

class TrainingQueries {
 public:
  /// rows [names, C] before the modality is added, in the order of the names; table [4 or 5, C].
  TrainingQueries(const std::vector<std::string>& names, Tensor rows, Tensor table, bool table_learns);

  /// [B, N, C] of B samples that ask for N structures each; fillers get zeros in place of their name's vector, which
  /// nothing sees. Throws Error for a name that has no row.
  Tensor of(const std::vector<TrainingSample>& samples) const;
  /// [N, C] of one case, with the values of `parameters`.
  Tensor of(const std::vector<std::string>& names, const std::string& modality, const NamedTensors& parameters) const;

  const Tensor& table() const { return table_; }
  int64_t width() const { return table_.shape[1]; }
  int64_t bytes() const { return rows_.bytes() + table_.bytes(); }

 private:
  int64_t row_of(const std::string& name) const;

  std::map<std::string, int64_t> row_of_;
  Tensor rows_, table_;
};

}  // namespace sat
