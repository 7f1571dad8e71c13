// Private. Prompts encoded once and for all: a file of phrases and their text embeddings, so that a model can be asked
// without its text encoder. Answers only phrases that it holds; new words need text_encoder.h.
#pragma once

#include <string>
#include <vector>

#include "sat/io/checkpoints/checkpoint.h"
#include "sat/io/words/model_card.h"
#include "sat/nn/text/text_encoder.h"

namespace sat {

/// Phrases and what the text encoder says of them before the modality is added.
struct EmbeddingBank {
  std::vector<std::string> phrases;  // distinct when lower-cased
  Tensor embeddings;                 // [phrases, C], TextEncoder::project()
  Tensor modality_embed;             // [4 or 5, C]
  TextEncoderConfig text;            // how the phrases were encoded
  std::string text_identity;         // sha256 of the text model's file; empty: not recorded
  std::string model_identity;        // sha256 of the segmentation model that it belongs to; empty: not recorded
  ModelCard card;                    // which scans the model was made for; may state nothing
  std::string source = "the embedding bank";  // named in messages
};

/// Reads a bank: safetensors with `embeddings` and `modality_embed`, and in its metadata "format" =
/// "sat-embedding-bank", "version" = "1", "phrases" (a JSON array), "text" (text_config_from_json), "text_sha256" and
/// "model_sha256" (64 hex digits, or absent), and perhaps "card" (model_card_from_json). Throws Error naming what does
/// not fit.
EmbeddingBank read_bank(const std::string& path);
bool is_bank(const std::string& path);  // a safetensors file that says it is a bank
bool is_bank(const Checkpoint& file);

/// Writes a bank, embeddings as f32. Throws Error for one that read_bank() would refuse.
void write_bank(const std::string& path, const EmbeddingBank& bank);

/// Encodes phrases for later. `text_identity` and `model_identity` may be empty.
EmbeddingBank make_bank(const TextEncoder& encoder, const std::vector<std::string>& phrases,
                        const std::string& text_identity, const std::string& model_identity);

/// One query a prompt, [N, C]: its embedding + the modality's row. Capital letters and spaces around a prompt do not
/// matter. A phrase that the bank does not hold throws Error naming the nearest ones.
Tensor bank_queries(const EmbeddingBank& bank, const std::vector<std::string>& prompts, const std::string& modality);

}  // namespace sat
