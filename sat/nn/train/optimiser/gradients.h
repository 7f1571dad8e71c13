// Private. Gradients by the name of their parameter: their sum over batches, their norm, and what keeps it small.
#pragma once

#include <map>
#include <string>

#include "sat/tensor/tensor.h"

namespace sat {

/// Tensors by published name, as Weights::parameters() has them.
using NamedTensors = std::map<std::string, Tensor>;

/// sum += gradients, where a name has none yet it moves in. f32 on the CPU.
void add_gradients(NamedTensors& sum, NamedTensors gradients);

/// All of them times a factor.
void scale_gradients(NamedTensors& gradients, double factor);

/// The norm of all of them as one vector, summed in double in the order of names: the same for any number of threads.
double gradient_norm(const NamedTensors& gradients);

/// Scales them so that their norm, which is `norm`, is at most `most`: as torch.nn.utils.clip_grad_norm_.
void clip_gradients(NamedTensors& gradients, double norm, double most);

/// Throws Error naming the first gradient with values that are NaN or infinite, and how many; `step` is named too.
void check_finite(const NamedTensors& gradients, int64_t step);

}  // namespace sat
