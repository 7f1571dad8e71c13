// Private: the variants of attention, one file each. attention.cpp names them and chooses.
#pragma once

#include <functional>
#include <string>

#include "sat/cuda/kernels.h"

namespace sat::cuda {

void attention_plain(const Stream& stream, const Attention& sizes);
void attention_tiled(const Stream& stream, const Attention& sizes);
void attention_fused(const Stream& stream, const Attention& sizes);
std::string attention_plain_refusal(const Attention& sizes, const DeviceLimits& limits);
std::string attention_tiled_refusal(const Attention& sizes, const DeviceLimits& limits);
std::string attention_fused_refusal(const Attention& sizes, const DeviceLimits& limits);

/// Where a run of segments lies, in elements: its first query, key and bias.
struct AttentionPlace {
  int64_t query, key, bias;
};
/// Calls body(sizes, place) for each run of segments of equal sizes; `all` has the arrays of the first segment.
void for_equal_segments(const Attention& all, const Segments& segments, bool bias_of_each,
                        const std::function<void(const Attention& sizes, const AttentionPlace& place)>& body);

}  // namespace sat::cuda
