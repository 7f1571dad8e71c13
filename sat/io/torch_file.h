// PyTorch's own files (.pth, .pt, .bin) in both forms: the zip archive of stored members, and the legacy stream of
// pickles followed by raw storages. Reads tensors; runs nothing (pickle.h). Other formats: checkpoint.h chooses.
#pragma once

#include <cstdint>
#include <string>

#include "sat/io/checkpoint.h"

namespace sat {

/// Reads a PyTorch file whose tensors are f32, f16, bf16, f64, i64, i32, u8 or bool, contiguous or strided, storages
/// shared between names or not.
/// Of a whole checkpoint the first of "model_state_dict", "state_dict", "model" that is a dict is taken, else the
/// file's dict itself; dicts, lists and tuples inside become names joined by dots. Numbers, booleans and texts beside
/// the state dict (a step, an epoch) become metadata. Throws Error for anything that is not a state dict, naming the
/// opcode or global that was refused and its offset in the pickle.
Checkpoint read_torch_file(const std::string& path);

/// Do these bytes start as the legacy form does?
bool is_legacy_torch_file(const uint8_t* bytes, int64_t count);

}  // namespace sat
