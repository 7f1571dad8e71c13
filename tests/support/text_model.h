// Text encoders of generated weights, of any size: the names and shapes that the published files have, and their
// values. Compares nothing (text_parity.h).
#pragma once

#include <map>
#include <string>

#include "sat/io/words/json.h"
#include "sat/nn/text/text_encoder.h"

namespace sat::test {

using NamedShapes = std::map<std::string, Shape>;

void add_linear(NamedShapes& shapes, const std::string& name, int64_t in, int64_t out);
void add_norm(NamedShapes& shapes, const std::string& name, int64_t channels);

/// The sizes of a recorded `config`.
TextBackboneConfig recorded_sizes(const Json& config);
/// A plain MPNet or BERT, every name with `at` before it.
NamedShapes backbone_shapes(const TextBackboneConfig& config, bool mpnet, const std::string& at = "");
/// A whole text encoder: backbone, projection where the kind has one, a modality table of four rows.
NamedShapes text_encoder_shapes(const TextBackboneConfig& config, TextKind kind);

/// Weights generated from `prefix` and their names; `published` goes before each name in the file only.
Weights generated_text_weights(const NamedShapes& shapes, const std::string& published = "",
                               const std::string& prefix = "");

/// The repository's vocabulary as this encoder reads it.
WordPiece published_vocabulary(TextKind kind);

}  // namespace sat::test
