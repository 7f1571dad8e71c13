// Private. The connector of report generation (rad-dino.md 10.3): an MLP that brings patch tokens to the width of a
// language model, which reads them in place of words. The language model itself is somebody else's.
#pragma once

#include <vector>

#include "sat/nn/layers.h"

namespace sat {

class Connector {
 public:
  /// Layers `connector.{0, 2, ...}`, or LLaVA's `mm_projector.{0, 2, ...}` (also below `model`), or one layer under
  /// either name alone. Throws Error for tensors that are missing, do not fit each other, or are foreign.
  explicit Connector(const Weights& w);

  int64_t width() const { return layers_.front().weight.in; }  // of a patch token
  int64_t out() const { return layers_.back().weight.out; }    // of the language model
  int64_t depth() const { return int64_t(layers_.size()); }

  /// Patch tokens [..., width] to [..., out], with GELU between layers.
  Tensor operator()(const Tensor& tokens) const;

 private:
  std::vector<Linear> layers_;
};

}  // namespace sat
