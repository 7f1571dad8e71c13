// Private. The safetensors format: an 8-byte header length, a JSON header, and the tensors' bytes without gaps.
// Knows bytes only; other formats are in torch_file.h, and checkpoint.h chooses.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "sat/io/checkpoints/checkpoint.h"
#include "sat/tensor/tensor.h"

namespace sat {

/// Reads a safetensors file. Every rule of the format is enforced: header within the limits and inside the file, strict
/// JSON that starts with '{', no name twice, text-only __metadata__, sizes that match type and shape, no hole, no
/// overlap, no byte left over. Types F32 F16 BF16 F64 I32 I64 U8 BOOL, at most six axes; tensors of the format's other
/// types of whole bytes are skipped, and anything else throws Error.
Checkpoint read_safetensors(const std::string& path, const CheckpointLimits& limits = {});

/// A tensor of a file that is going to be written.
struct SafetensorsEntry {
  std::string name;
  Shape shape;
  DType dtype;
};

/// The bytes of a file before its tensors' own, which follow in this order without gaps; wider types should come first.
/// `path` is named in messages.
std::string safetensors_head(const std::vector<SafetensorsEntry>& tensors,
                             const std::map<std::string, std::string>& metadata, const std::string& path);

/// Writes CPU tensors as they are (f32, f16, bf16, i32, i64, u8, bool). The bytes depend on the arguments alone: wider
/// types come first, then names in order; the data begins at a multiple of 8. The file appears complete or not at all.
void write_safetensors(const std::string& path, const std::map<std::string, Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata);

}  // namespace sat
