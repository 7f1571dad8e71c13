// Opening, describing and writing text encoders.
#include "sat/nn/text/text_file.h"

#include "sat/io/checkpoints/safetensors.h"
#include "sat/io/files/hash.h"
#include "sat/nn/sat/stored_weights.h"

namespace sat {

namespace {

constexpr const char* kFormat = "sat-text-1";

bool left_out(const std::string& name) {
  return name.find("pooler.") != std::string::npos || name.find("position_ids") != std::string::npos;
}

Weights unwrapped(const Weights& weights) {
  std::vector<Weights::Entry> entries = weights.entries();
  for (Weights::Entry& entry : entries) entry.name = text_name_without_wrappers(entry.name);
  return Weights(std::move(entries), weights.source());
}

}  // namespace

bool is_text_file(const Weights& weights) {
  for (const Weights::Entry& entry : weights.entries()) {
    if (entry.name.find("embeddings.word_embeddings.weight") != std::string::npos) return true;
  }
  return false;
}

TextFile open_text_file(const std::vector<std::string>& paths, const CheckpointLimits& limits) {
  SAT_CHECK(!paths.empty(), "no text encoder was named");
  TextFile text;
  text.path = paths[0];
  std::vector<Weights> parts;
  std::string own = paths[0];  // the file that was trained with a segmentation model: it has the modality table
  for (const std::string& path : paths) {
    Checkpoint checkpoint = open_checkpoint(path, limits);
    for (const Weights::Entry& entry : checkpoint.weights.entries()) {
      if (entry.name.find("atlas_tower.") != std::string::npos) text.pretraining = true;
      if (entry.name.find("modality_embed.") != std::string::npos) own = path;
    }
    if (parts.empty()) text.metadata = std::move(checkpoint.metadata);
    parts.push_back(unwrapped(checkpoint.weights));
  }
  text.weights = text_weights(parts).finite();
  const TextKind kind = recognise_text_kind(text.weights);
  const auto described = text.metadata.find("text");
  text.config =
      described == text.metadata.end()
          ? published_text_config(kind)
          : text_config_from_json(Json::parse(described->second, text.path + " (text in its header)"), text.path);
  const auto identity = text.metadata.find("identity");
  text.identity = identity == text.metadata.end() ? sha256_of_file(own) : identity->second;
  return text;
}

void write_text_file(const std::string& path, const TextFile& text, DType dtype) {
  TextEncoder::check(text.weights, text.config);
  std::map<std::string, Tensor> tensors;
  for (const Weights::Entry& entry : text.weights.entries()) {
    if (!left_out(entry.name))
      tensors[entry.name] = narrowed(text.weights.get(entry.name, entry.shape), dtype, entry.name, path);
  }
  write_safetensors(path, tensors,
                    {{"format", kFormat}, {"text", to_json(text.config).dump()}, {"identity", text.identity}});
}

TextEncoder open_text_encoder(const std::string& path, const std::string& vocabulary) {
  SAT_CHECK(!vocabulary.empty(), path, ": a text encoder needs its vocabulary (vocab.txt)");
  const TextFile text = open_text_file({path});
  SAT_CHECK(!text.pretraining, path,
            ": this file is from knowledge pre-training; its modality table never saw a "
            "segmentation model. Use the text encoder published with the model");
  const TokenizerFamily family = text.config.kind == TextKind::ours ? TokenizerFamily::mpnet : TokenizerFamily::bert;
  return TextEncoder(text.weights, WordPiece::read(vocabulary, family), text.config);
}

}  // namespace sat
