// The parts of a tensor that a record holds, by the words of its `sampling`: "all", or as NumPy writes it.
#pragma once

#include <string>

#include "sat/tensor/tensor.h"

namespace sat::test {

/// "[:,0,::8,2:10:4]": a slice an axis, an index alone drops its axis; axes that are not named are taken whole.
Tensor sampled(const Tensor& x, const std::string& how);

}  // namespace sat::test
