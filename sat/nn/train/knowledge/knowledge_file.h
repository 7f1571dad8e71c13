// Private. What a knowledge pre-training starts from and leaves behind: checkpoints with a text encoder, and perhaps a
// projection, a modality table, an atlas tower and a temperature.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sat/nn/sat/sat_config.h"
#include "sat/nn/text/mpnet.h"
#include "sat/nn/text/text_file.h"
#include "sat/nn/train/knowledge/knowledge_model.h"
#include "sat/nn/train/optimiser/gradients.h"

namespace sat {

/// Everything that a stage reads.
struct KnowledgeStart {
  Weights weights;  // under published names
  TextEncoderConfig text;
  std::string source;              // of the text encoder
  std::vector<std::string> drawn;  // tensors that no file has: they start from random values
};

/// Opens the text encoder (one file, or an encoder and what belongs to it). What stage 2 needs and the files lack is
/// drawn: the projection's weights N(0, 1 / width), the modality table's rows N(0, 1), a temperature of ln(1 / 0.07),
/// all else as initial_weights() does. A modality table of four rows gets a fifth. `text`: in place of what the files
/// say. Throws Error for stage 2 of an encoder that is not of kind ours: only that one has a projection.
KnowledgeStart open_knowledge_start(const std::vector<std::string>& paths, const std::optional<TextEncoderConfig>& text,
                                    const std::optional<SatConfig>& atlas, uint64_t seed);

/// The same of an MPNet of these sizes that nothing has trained: weights N(0, 0.02^2) as BERT's, to try things with.
KnowledgeStart random_knowledge_start(const TextBackboneConfig& sizes, const std::optional<SatConfig>& atlas,
                                      uint64_t seed);

/// The encoder of these values.
TextEncoder text_encoder_of(const KnowledgeStart& start, const NamedTensors& values, const WordPiece& vocabulary);

/// Writes the text encoder of these parameters, as `sat bank` and segmentation training take it.
void write_trained_text(const std::string& path, const KnowledgeStart& start, const NamedTensors& parameters,
                        const std::string& identity);
/// Writes all of them, which the next stage and a segmentation network's encoder can start from.
void write_pretraining(const std::string& path, const KnowledgeStart& start, const NamedTensors& parameters);

}  // namespace sat
