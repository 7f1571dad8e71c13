// Private. A SAT model's file: opening it whatever its format, knowing what it is, and which text encoder belongs to
// it. Knows names and metadata; the network is built by sat_model.h.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "sat/io/checkpoints/checkpoint.h"
#include "sat/nn/sat/sat_config.h"
#include "sat/tensor/weights.h"

namespace sat {

enum class Heads : uint8_t;  // sat_model.h

/// An opened segmentation checkpoint with canonical tensor names: wrappers stripped, aliases folded. A tensor that
/// holds a NaN or an infinity throws Error when it is asked for.
struct ModelFile {
  std::string path;
  Weights weights;
  SatConfig config;
  std::map<std::string, std::string> metadata;
  std::string identity;       // sha256 of the file the weights were published in; survives conversion
  std::string text_identity;  // identity of the text encoder that belongs to it; empty when not recorded
};

/// Opens .safetensors, .pth, .pt or .bin. `config_path` (JSON) describes models that are neither published nor carry
/// their description; empty otherwise. Throws Error for anything that is not a whole SAT model, naming every tensor
/// that is missing, of another shape or foreign to it (the first 20 of each).
ModelFile open_model_file(const std::string& path, const std::string& config_path = {},
                          const CheckpointLimits& limits = {});

/// Names and shapes of all tensors that the network asks for, found by a dry run of its constructor.
std::map<std::string, Shape> needed_tensors(const SatConfig& config, Heads heads);

/// Canonical names: without the steps of wrappers (`module.`, `_orig_mod.`, `_fsdp_wrapped_module.`, and `model.` at
/// the start, in any order and number), without `X.all_modules.{0,1}.*` and `backbone.decoder.encoder.*` beside their
/// originals (or with their names where the original is absent), without `position_ids` and `relative_position_index`
/// buffers and the `n_averaged` of an averaged model. Throws Error where two tensors then have one name.
Weights canonical_weights(const Weights& weights);

/// Writes `model` as safetensors with its description in the header. Deep-supervision heads are left out unless
/// `training_heads`. `text_identity`, if not empty, records the text encoder that belongs to it. Throws
/// Error for values that are not finite, or beyond the range of `dtype`.
void write_model_file(const std::string& path, const ModelFile& model, DType dtype, bool training_heads,
                      const std::string& text_identity = {});

/// Throws Error naming both when the text side (a text model's or bank's identity) does not belong to the model.
/// Returns false when one of them does not say, so that the pairing could not be checked.
bool check_pairing(const ModelFile& model, const std::string& text_path, const std::string& text_identity);

}  // namespace sat
