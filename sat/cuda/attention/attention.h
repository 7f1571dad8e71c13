// Private: the variants of attention, one file each. attention.cpp names them and chooses.
#pragma once

#include <string>

#include "sat/cuda/kernels.h"

namespace sat::cuda {

void attention_plain(const Stream& stream, const Attention& sizes);
void attention_tiled(const Stream& stream, const Attention& sizes);
void attention_fused(const Stream& stream, const Attention& sizes);
std::string attention_plain_refusal(const Attention& sizes, const DeviceLimits& limits);
std::string attention_tiled_refusal(const Attention& sizes, const DeviceLimits& limits);
std::string attention_fused_refusal(const Attention& sizes, const DeviceLimits& limits);

}  // namespace sat::cuda
