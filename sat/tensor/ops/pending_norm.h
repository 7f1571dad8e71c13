// Private: the norm that raw values are still to be given by whoever loads them. A plain struct, shared by every kernel
// on every backend.
#pragma once

namespace sat {

/// The final value of raw x in channel c is leaky_relu((x - center[c]) * factor[c] + shift[c]), where
/// leaky_relu(v) = v < 0 ? slope * v : v. No center: the values are final.
struct PendingNorm {
  const float *center = nullptr, *factor = nullptr, *shift = nullptr;  // [channels] each
  float slope = 1;
};

}  // namespace sat
