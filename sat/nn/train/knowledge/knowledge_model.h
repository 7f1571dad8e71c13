// Private. What knowledge pre-training learns beside the text encoder's layers (spec m.2): projection and modality
// table of the text side, the atlas tower, the temperature; and the losses of its steps. Takes sentence vectors, from
// whatever encoder; which texts and scans they are of is knowledge_task.h's.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sat/nn/train/knowledge/atlas_tower.h"

namespace sat {

/// Which part of the training: 1 texts alone, 2 texts and scans.
enum class KnowledgeStage : uint8_t { texts = 1, texts_and_scans = 2 };

/// Whether a stage trains a parameter: the temperature; layers of the text encoder whose number is above
/// `open_bert_layer`, from 0 (-1 opens all of them, embeddings and relative bias never train); in stage 2 the
/// projection, the modality table and the atlas tower too.
bool knowledge_learns(const std::string& name, KnowledgeStage stage, int64_t open_bert_layer);

inline constexpr int64_t kModalityRows = 5;
inline constexpr double kFirstTemperature = 2.659260036932778;  // ln(1 / 0.07)

/// Crops with structures, as a text-atlas step takes them.
struct AtlasBatch {
  Tensor images;                    // f32 [B, H, W, D, in_channels]
  Tensor masks;                     // u8 [B, H, W, D, ceil(count / 8)]
  int64_t count = 0;                // masks a crop, those that fill it up included
  std::vector<int64_t> places;      // of the structures: crop * count + mask, fillers left out
  std::vector<std::string> names;   // of each of these
  std::vector<int64_t> modalities;  // rows of the modality table, of each of these
};

class KnowledgeModel {
 public:
  /// Reads `temperature`, and where `atlas` is given `projection_layer.{0, 2}`, `modality_embed.weight` (five rows) and
  /// `atlas_tower.*`, its encoder of these sizes. Sentences have `hidden` numbers.
  KnowledgeModel(const Weights& weights, int64_t hidden, const std::optional<SatConfig>& atlas);

  struct TextLoss {
    Tensor total;           // [1]
    Tensor raw, projected;  // its terms; the second one in stage 2 alone
  };
  /// Of pairs: sentences a[i] and b[i] belong together, and all with equal labels. [N, hidden] each.
  TextLoss text_loss(const Tensor& a, const Tensor& b, const std::vector<std::string>& labels) const;

  /// What the second loss compares, rows of length 1: the text side of sentences [N, hidden] with their modalities, and
  /// the atlas side of the batch's places.
  Tensor text_rows(const Tensor& sentences, const std::vector<int64_t>& modalities) const;
  Tensor atlas_rows(const AtlasBatch& batch) const;
  /// Of the structures' names as sentences, in the order of batch.places. [1]
  Tensor atlas_loss(const Tensor& sentences, const AtlasBatch& batch) const;

  const Tensor& temperature() const { return temperature_; }
  /// After each step of the optimiser: the temperature goes back into [0, ln 100].
  void clamp_temperature();
  const AtlasTower& atlas() const { return *atlas_; }

 private:
  struct Projection {
    Linear in, out;
    Tensor modalities;  // [5, width]
    Tensor operator()(const Tensor& sentences) const { return out(in(sentences, Activation::gelu)); }
  };

  Tensor temperature_;
  std::optional<Projection> projection_;
  std::optional<AtlasTower> atlas_;
};

}  // namespace sat
