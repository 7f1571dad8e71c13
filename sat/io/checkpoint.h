// Opening a checkpoint of any supported kind: what the bytes are decides, never the file's name.
// Knows no model: names are reported as the file has them, "module." included.
#pragma once

#include <map>
#include <string>

#include "sat/tensor/weights.h"

namespace sat {

/// The tensors of a file, each read when it is asked for, and the texts that travel with them.
/// Float tensors (f32, f16, bf16, f64) arrive as f32; i32, i64, u8 and bool as they are. The loader of an f32 tensor
/// that lies aligned in the file gives a read-only view of the mapped file (Weights::get copies it); every other one
/// reads a copy. The file must not be shortened while tensors of it are still to be read.
struct Checkpoint {
  Weights weights;
  std::map<std::string, std::string> metadata;
};

/// Opens a safetensors file, or a PyTorch file of either form (zip, legacy). Throws Error for anything else, saying
/// what the first bytes look like.
Checkpoint open_checkpoint(const std::string& path);

}  // namespace sat
