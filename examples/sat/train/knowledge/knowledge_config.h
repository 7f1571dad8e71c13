// The keys of "knowledge" in a training's config: what task knowledge starts from and learns from. The defaults are the
// published values; docs/knowledge.md lists them. Reads the config alone; knowledge_run.h opens what it names.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "examples/sat/train/config_section.h"

namespace sat::cli {

/// A text encoder without training, to try things with.
struct RandomEncoderPart {
  int64_t hidden = 64, layers = 3, heads = 4, feedforward = 256;
};

/// A file about concepts; ratios of its definitions (or rows) and of its relations.
struct KnowledgeFilePart {
  std::string file;
  double ratio = 0, relations_ratio = 0;
};

/// Scans for stage 2.
struct KnowledgeScansPart {
  std::vector<std::string> data;
  std::string cache;                      // empty: in the run's folder
  std::string encoder = "UNET";           // of the atlas tower, by its published name, or of these sizes
  std::vector<int64_t> channels, blocks;  // a stage; empty: as published
  std::array<int64_t, 3> crop{288, 288, 96};
  int64_t crops = 2, others = 7, workers = 2;
  bool skip_problems = true;
};

struct KnowledgePart {
  std::vector<std::string> encoder;  // files, or
  std::optional<RandomEncoderPart> random_encoder;
  std::string vocabulary;
  Json encoder_config;  // "file": as the file says; "native"; or an object, as TextEncoderConfig has it
  int64_t open_bert_layer = 8, pairs = 128, monitored_pairs = 10000;
  KnowledgeFilePart umls_definitions, umls_graph, web, supplement;
  std::optional<KnowledgeScansPart> scans;  // stage 2 where there are some
  std::string compare;                      // groups of names, whose embeddings are drawn before and after
};

KnowledgePart read_knowledge(ConfigSection part);
Json to_json(const KnowledgePart& part);
/// Keys that may be others in a resumed run.
const std::vector<std::string>& free_knowledge_keys();

}  // namespace sat::cli
