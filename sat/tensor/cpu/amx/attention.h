// Private: attention on processors with matrix units (AMX). Queries, keys, values and the softmax's weights are rounded
// to bf16, products and sums are f32: the precision of mode `fast`.
#pragma once

#include <vector>

#include "sat/tensor/cpu/attention_job.h"

namespace sat::cpu {

struct AmxLoops;  // amx/matrix_piece.h

/// Whether a segment of so many keys pays, with heads of this width.
bool amx_attention_pays(int64_t tokens, int64_t width);

/// Writes every job's rows [queries, channels]. A query's bits depend on that query and its segment's keys alone. Extra
/// memory: 4 bytes a channel and token; 288 bytes a token and thread, and 192 more where something is added.
void amx_attention_jobs(const std::vector<AttentionJob>& jobs, int64_t channels, int64_t heads, const AmxLoops& loops);

}  // namespace sat::cpu
