// Private. PyTorch's own files (.pth, .pt, .bin) in both forms: the zip archive of stored members, and the legacy
// stream of pickles followed by raw storages. Reads tensors; runs nothing (pickle.h). Other formats: checkpoint.h
// chooses.
#pragma once

#include <cstdint>
#include <string>

#include "sat/io/checkpoints/checkpoint.h"

namespace sat {

/// Reads a PyTorch file whose tensors are f32, f16, bf16, f64, i64, i32, u8 or bool, contiguous or strided, storages
/// shared between names or not.
/// Of a whole checkpoint one dict is the state dict: the first of "model_state_dict", "state_dict", "network_weights",
/// "model", "net", "ema", "ema_state_dict" and "model_ema" that is a dict with tensors, looked for within the one found
/// too; where there is none, the file's dict itself. So a model is preferred to its moving average. Dicts, lists and
/// tuples inside become names joined by dots. Numbers, booleans and texts beside it (a step, an epoch) become metadata;
/// all else is skipped by name: other dicts, objects of any class, tensors of types that are not read, keys that are
/// neither texts nor integers. Throws Error for anything that holds no state dict, and for pickles by which harm is
/// done (pickle.h).
Checkpoint read_torch_file(const std::string& path, const CheckpointLimits& limits = {});

/// Do these bytes start as the legacy form does?
bool is_legacy_torch_file(const uint8_t* bytes, int64_t count);

}  // namespace sat
