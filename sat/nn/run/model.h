// A model with its text side, loaded from files: constant, and shared by the sessions that run it.
// Running it over a scan is session.h's matter.
#pragma once

#include <memory>
#include <string>

#include "sat/nn/load_options.h"
#include "sat/nn/sat/sat_config.h"

namespace sat {

struct EmbeddingBank;  // text/embedding_bank.h
struct ModelBytes;     // loading.h
class SatModel;        // sat/sat_model.h

struct ModelOptions : LoadOptions {
  std::string config;      // JSON description for a model that carries none; overrides one that it carries
  std::string bank;        // prompt embeddings made before; or
  std::string text_model;  // the text encoder, with
  std::string vocabulary;  // its word pieces (vocab.txt)
};

/// Constant after loading: any number of sessions, each on a thread of its own, run one model at the same time. Weights
/// are packed for a CPU level, a precision and a device, which its sessions share.
class Model {
 public:
  /// Throws Error naming what is wrong with a file, or what does not fit; MemoryError where the limit would be passed.
  static std::shared_ptr<const Model> open(const ModelOptions& options);
  ~Model();
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const ModelOptions& options() const;
  const SatConfig& config() const;
  const std::string& identity() const;       // sha256
  const std::string& text_identity() const;  // sha256
  bool pairing_checked() const;              // the text side is known to belong to the model

  const SatModel& network() const;
  const ModelBytes& bytes() const;    // as planned, and held from now on
  const EmbeddingBank* bank() const;  // null where prompts go through a text encoder
  int64_t text_bytes() const;         // of the CPU's memory, while prompts are encoded; 0 with a bank

  /// Options of a context that runs this model: its CPU level and precision, and the device that it lies on.
  ContextOptions context_options() const;

 private:
  struct State;
  explicit Model(std::unique_ptr<State> state);
  std::unique_ptr<const State> state_;
};

}  // namespace sat
