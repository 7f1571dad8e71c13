// Private: the config of a checkpoint that carries none, from the shapes of its tensors.
#pragma once

#include "sat/nn/sat/sat_config.h"
#include "sat/tensor/weights.h"

namespace sat {

/// Reads the sizes off a checkpoint's shapes. A published model is recognised whole; for another, what shapes cannot
/// tell (heads, window, spacing) is left at the published values and `certain` is false.
struct RecognisedConfig {
  SatConfig config;
  bool certain = false;
};
RecognisedConfig recognise_config(const Weights& weights);  // throws Error when it is no SAT checkpoint

}  // namespace sat
