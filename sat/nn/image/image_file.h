// Private. A file of an image model, opened and recognised: RAD-DINO and others of DINOv2's kind under either naming,
// or ECAMP, whatever wrappers training left around the names. The networks are built by image_model.h.
#pragma once

#include <map>
#include <string>

#include "sat/io/checkpoints/checkpoint.h"
#include "sat/nn/image/vit.h"
#include "sat/tensor/weights.h"

namespace sat {

struct ImageFile {
  std::string path;
  Weights weights;  // of the encoder: where its class token lies
  VitConfig config;
  VitNaming naming = VitNaming::timm;
  PositionRule positions = PositionRule::size;
  int64_t input = 518;   // side of the square image that the model was made for
  std::string kind;      // "rad-dino", "ecamp"
  std::string identity;  // SHA-256 of the file in which the weights were published
  std::string remark;    // "untrained weights" where the file says so
};

/// Opens safetensors or a PyTorch file. `config`: a config.json in transformers' form; empty: the one beside the model,
/// where there is one. It says how many heads there are, which the tensors do not, and how positions are stretched
/// (`interpolation`: "offset" or "size", or DINOv2's `interpolate_offset`; by default by size, as transformers does
/// today); what it says of other sizes must agree with the tensors.
///
/// The encoder is where one class token lies, at any depth of names; of a student and a teacher it is the teacher's.
/// LayerScale makes it RAD-DINO's kind. Throws Error for a file without an encoder, with several, or with tensors that
/// are missing or of another shape.
ImageFile open_image_file(const std::string& path, const std::string& config = {}, const CheckpointLimits& limits = {});

}  // namespace sat
