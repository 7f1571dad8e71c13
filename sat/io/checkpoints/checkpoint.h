// Private. Opening a checkpoint of any supported kind: what the bytes are decides, never the file's name.
// Knows no model: names are reported as the file has them, "module." included.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "sat/tensor/weights.h"

namespace sat {

/// What a file may ask for before any tensor of it is read: so that a small hostile one costs little.
struct CheckpointLimits {
  /// Bytes of a safetensors header, of a zip archive's directory, or of the pickles.
  int64_t header = 16 << 20;
  int64_t entries() const { return header / 256; }   // tensors and other values by name, and members: 65,536
  int64_t operations() const { return header / 8; }  // steps of a pickle
};

/// The tensors of a file, each read when it is asked for, and the texts that travel with them.
/// Float tensors (f32, f16, bf16, f64) arrive as f32; i32, i64, u8 and bool as they are; all in bytes of their own. The
/// file is not mapped: one that another process shortens meanwhile gives Error.
struct Checkpoint {
  Weights weights;
  std::map<std::string, std::string> metadata;
  /// What else the file holds, skipped: names and what stands there, such as "args" and "argparse.Namespace".
  std::map<std::string, std::string> skipped = {};
};

/// Opens a safetensors file, or a PyTorch file of either form (zip, legacy). Throws Error for anything else, saying
/// what the first bytes look like, and for what passes the limits.
Checkpoint open_checkpoint(const std::string& path, const CheckpointLimits& limits = {});

}  // namespace sat
