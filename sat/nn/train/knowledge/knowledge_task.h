// Private. Knowledge pre-training as a task of the loop (spec m.3, m.4): text steps of pairs, and in stage 2 before
// each of them an atlas step of crops, each with an update of its own.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sat/io/words/wordpiece.h"
#include "sat/nn/train/data/sample_loader.h"
#include "sat/nn/train/knowledge/atlas_sampler.h"
#include "sat/nn/train/knowledge/knowledge_file.h"
#include "sat/nn/train/knowledge/monitoring/retrieval.h"
#include "sat/nn/train/knowledge/text_batch.h"
#include "sat/nn/train/training_task.h"

namespace sat {

/// The defaults are the published values.
struct KnowledgeTaskOptions {
  int64_t pairs = 128;              // of a text step
  int64_t crops = 2;                // of an atlas step
  int64_t open_bert_layer = 8;      // layers of the text encoder behind this one learn, counted from 0
  int64_t monitored_pairs = 10000;  // the last ones, whose retrieval validation tells
  int64_t accumulation = 1;         // batches an update
  int64_t last_step = INT64_MAX;
  int recomputed_stages = 0;  // of the atlas tower's encoder
  uint64_t seed = 0;
  int workers = 2;
};

class KnowledgeTask : public TrainingTask {
 public:
  /// Stage 1 without `atlas`, stage 2 with it: the encoder's sizes, and where its crops come from.
  struct Atlas {
    SatConfig encoder;
    AtlasSampler sampler;
  };
  KnowledgeTask(const KnowledgeStart& start, WordPiece vocabulary, KnowledgePairs pairs, std::optional<Atlas> atlas,
                const KnowledgeTaskOptions& options);
  ~KnowledgeTask() override;

  const NamedTensors& parameters() const override { return weights_.parameters(); }
  bool learns(const std::string& name) const { return knowledge_learns(name, stage_, options_.open_bert_layer); }
  Json model() const override;
  std::string data() const override { return data_; }
  int64_t updates() const override { return stage_ == KnowledgeStage::texts ? 1 : 2; }
  NamedTensors gradients(const BatchPlace& place, BatchReport& report) override;
  void after_update() override { model_->clamp_temperature(); }
  /// Retrieval over the last pairs that were drawn, encoded with these values. The score is R@1, mean of both ways.
  /// Differs: the published loop keeps the embeddings that each pair had when it was drawn; here they are made anew, so
  /// that a resumed run tells the same.
  ValidationReport validate(const NamedTensors& parameters) override;

 private:
  Tensor text_loss(const TextBatch& batch, Json& details) const;
  Tensor atlas_loss(std::vector<TrainingSample> samples, Json& details) const;
  std::vector<TrainingSample> next_samples(int64_t number);
  TextBatch next_texts(int64_t number) const;

  KnowledgeStage stage_;
  KnowledgeTaskOptions options_;
  WordPiece vocabulary_;
  KnowledgePairs pairs_;
  std::optional<Atlas> atlas_;
  KnowledgeStart start_;
  Weights weights_;
  std::optional<KnowledgeModel> model_;
  std::optional<TextEncoder> encoder_;
  std::string data_;
  int64_t drawn_ = 0;  // pairs so far
  std::unique_ptr<SampleLoader> loader_;
};

}  // namespace sat
