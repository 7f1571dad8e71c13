// Private. Blocks whose inner results are not kept for the backward pass, but made again in it: less memory for more
// work.
#pragma once

#include <functional>
#include <vector>

#include "sat/tensor/ops.h"

namespace sat {

/// block(inputs). Under a tape only the inputs are kept: the backward pass runs `block` again, on a tape of its own,
/// and adds what that gives to the gradients of the inputs and of all parameters that the block reads. `block` is
/// called in a context without a tape first, and holds by value whatever it needs.
using Block = std::function<Features(const std::vector<Features>& inputs)>;
Features recomputed(const std::vector<Features>& inputs, const Block& block);

/// Whether the current context's tape keeps only the inputs of this stage of a network.
bool recomputes(size_t stage);

}  // namespace sat
