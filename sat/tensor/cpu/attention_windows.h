// Private: attention inside many small windows, where the general form's packed copies of all of them would not stay in
// any cache.
#pragma once

#include "sat/tensor/ops.h"

namespace sat::cpu {

/// Whether a segment is a window as this form takes it. The answer depends on its own shape alone, so that its bits do
/// not depend on what it is batched with.
bool is_window(int64_t queries, int64_t tokens, int64_t width);

/// As attention() of ops.h says, at a level with vectors: the results of those segments that are windows.
void attention_windows(Tensor& y, const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads,
                       const Segments& segments, const Tensor& bias);

}  // namespace sat::cpu
