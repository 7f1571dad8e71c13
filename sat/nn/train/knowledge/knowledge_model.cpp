// Projection, modality table, temperature and atlas tower, and the losses of the two kinds of step.
#include "sat/nn/train/knowledge/knowledge_model.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "sat/nn/train/knowledge/contrastive_losses.h"

namespace sat {

namespace {

bool starts_with(const std::string& text, const std::string& start) {
  return text.compare(0, start.size(), start) == 0;
}

/// The number of a text encoder's layer, or -1 for other tensors.
int64_t layer_of(const std::string& name) {
  for (const char* layers : {"text_tower.biolord.encoder.layer.", "model.encoder.layer."}) {
    if (!starts_with(name, layers)) continue;
    int64_t layer = -1;
    const char* digits = name.c_str() + std::string(layers).size();
    std::from_chars(digits, name.c_str() + name.size(), layer);
    return layer;
  }
  return -1;
}

}  // namespace

bool knowledge_learns(const std::string& name, KnowledgeStage stage, int64_t open_bert_layer) {
  if (name == "temperature") return true;
  const int64_t layer = layer_of(name);
  if (layer >= 0) return layer > open_bert_layer;
  if (stage == KnowledgeStage::texts) return false;
  return starts_with(name, "projection_layer.") || starts_with(name, "modality_embed.") ||
         starts_with(name, "atlas_tower.");
}

KnowledgeModel::KnowledgeModel(const Weights& weights, int64_t hidden, const std::optional<SatConfig>& atlas)
    : temperature_(weights.get("temperature", Shape())) {
  if (!atlas) return;
  Projection projection;
  projection.in = Linear(weights / "projection_layer" / 0, hidden, hidden);
  projection.out = Linear(weights / "projection_layer" / 2, hidden, hidden);
  projection.modalities = to_compute_device((weights / "modality_embed").get("weight", {kModalityRows, hidden}));
  projection_ = projection;
  atlas_.emplace(weights / "atlas_tower", *atlas, hidden);
}

KnowledgeModel::TextLoss KnowledgeModel::text_loss(const Tensor& a, const Tensor& b,
                                                   const std::vector<std::string>& labels) const {
  const Tensor targets = text_targets(labels), t = to_compute_device(temperature_);
  TextLoss loss;
  loss.raw = text_text_loss(normalize_rows(a), normalize_rows(b), targets, t);
  loss.total = loss.raw;
  if (!projection_) return loss;
  loss.projected = text_text_loss(normalize_rows((*projection_)(a)), normalize_rows((*projection_)(b)), targets, t);
  loss.total = add(loss.raw, loss.projected);
  return loss;
}

Tensor KnowledgeModel::text_rows(const Tensor& sentences, const std::vector<int64_t>& modalities) const {
  return normalize_rows(add((*projection_)(sentences), gather_rows(projection_->modalities, modalities)));
}

Tensor KnowledgeModel::atlas_rows(const AtlasBatch& batch) const {
  const Tensor rows = (*atlas_)(batch.images, batch.masks, batch.count);  // [B, N, C]
  const Tensor all = reshape(rows, {rows.shape[0] * rows.shape[1], rows.shape[2]});
  return normalize_rows(gather_rows(all, batch.places));
}

Tensor KnowledgeModel::atlas_loss(const Tensor& sentences, const AtlasBatch& batch) const {
  return text_atlas_loss(text_rows(sentences, batch.modalities), atlas_rows(batch), label_numbers(batch.names),
                         to_compute_device(temperature_));
}

void KnowledgeModel::clamp_temperature() {
  float& t = temperature_.data<float>()[0];
  t = std::clamp(t, 0.F, float(std::log(100.0)));
}

}  // namespace sat
