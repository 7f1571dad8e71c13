// A knowledge pre-training as its config says it: files opened, checked against each other, and put together as a task
// of the loop.
#pragma once

#include <optional>
#include <string>

#include "examples/sat/output/progress.h"
#include "examples/sat/train/train_config.h"
#include "examples/sat/train/train_request.h"
#include "examples/sat/train/training_run.h"
#include "sat/nn/train/knowledge/knowledge_task.h"

namespace sat::cli {

class KnowledgeRun : public TrainingRun {
 public:
  /// Opens the text encoder and the knowledge files, and brings scans into the cache. In the current context.
  KnowledgeRun(const TrainConfig& config, const std::string& folder, ProgressView& view);

  TrainingTask& task() override { return *task_; }
  const KnowledgeTask& knowledge() const { return *task_; }
  const KnowledgeStart& start() const { return start_; }
  const KnowledgePairs& pairs() const { return pairs_; }

  /// text.safetensors, the encoder alone; pretraining.safetensors, all that was trained; and where the config compares
  /// names, embeddings.png and similarity.json.
  std::string export_to(const std::string& folder, const NamedTensors& values,
                        const std::string& identity) const override;

 private:
  void compare(const std::string& folder, const NamedTensors& values) const;

  const KnowledgePart part_;
  KnowledgeStart start_;
  std::optional<WordPiece> vocabulary_;
  KnowledgePairs pairs_;
  std::optional<KnowledgeTask> task_;
};

/// Prints what a run would do, and changes nothing.
int explain_knowledge(const TrainConfig& config, const TrainRequest& request, ProgressView& view);

}  // namespace sat::cli
