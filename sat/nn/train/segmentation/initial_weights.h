// Private. First values of a network that starts from nothing, as the published code draws them (spec b.1), each a
// function of the seed and its name, whatever else the network has.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "sat/tensor/weights.h"

namespace sat {

/// Tensors of these names and shapes, drawn when they are asked for:
///   convolutions   N(0, 2 / ((1 + 0.01^2) * fan in)), bias 0
///   norms          1, bias 0
///   dense layers   U(-b, b), b = 1 / sqrt(fan in), their biases too
///   attention      the joined projection U(-a, a), a = sqrt(6 / (in + out)), its biases 0
///   Mamba          A = 1, 2, ...; D = 1; steps log-uniform in [0.001, 0.1]
///   Swin           bias tables N(0, 0.02^2)
Weights initial_weights(const std::map<std::string, Shape>& shapes, uint64_t seed);

}  // namespace sat
