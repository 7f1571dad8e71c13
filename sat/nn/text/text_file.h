// Private. A text encoder's file: opening it whatever its format, knowing which encoder it is, and writing it again.
// Knows names and metadata; the encoder is built by text_encoder.h.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "sat/io/checkpoints/checkpoint.h"
#include "sat/nn/text/text_encoder.h"
#include "sat/tensor/weights.h"

namespace sat {

/// An opened text encoder with the names that TextEncoder asks for. A tensor that holds a NaN or an infinity throws
/// Error when it is asked for.
struct TextFile {
  std::string path;
  Weights weights;
  TextEncoderConfig config;
  std::map<std::string, std::string> metadata;
  std::string identity;      // sha256 of the file the weights were published in; survives conversion
  bool pretraining = false;  // from knowledge pre-training: its modality table never saw a segmentation model
};

/// Opens .safetensors, .pth, .pt or .bin; more paths add tensors that the first lacks (a projection and a modality
/// table apart from the encoder). Throws Error for anything that is no SAT or sentence encoder.
TextFile open_text_file(const std::vector<std::string>& paths, const CheckpointLimits& limits = {});
bool is_text_file(const Weights& weights);  // by its tensor names, as the file has them

/// Writes the encoder, checked to be whole, as safetensors with its description in the header. The pooler, position ids
/// and whatever belongs to pre-training alone are left out.
void write_text_file(const std::string& path, const TextFile& text, DType dtype);

/// The encoder, ready for prompts. `vocabulary` is its vocab.txt.
TextEncoder open_text_encoder(const std::string& path, const std::string& vocabulary);

}  // namespace sat
