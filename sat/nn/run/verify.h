// Private. How far a run's precision or device is off: one window computed twice, the way of the run and in f32 on the
// CPU. Knows windows and prompts; which window of a scan is taken is session.h's matter.
#pragma once

#include "sat/nn/run/session.h"
#include "sat/nn/sat/sat_model.h"
#include "sat/tensor/context.h"

namespace sat {

/// tested, exact: one model in two contexts, of which the second computes on the CPU in exact precision.
///   window [1, H, W, D, 1] on the CPU; queries [N, text_dim]
/// Memory: what a window takes in each context, one after the other, and the features of both.
Verification verify_window(const SatModel& tested, Context& tested_context, const SatModel& exact,
                           Context& exact_context, const Tensor& window, const Tensor& queries);

}  // namespace sat
