// A model with its text side, loaded from files: constant, and shared by the sessions that run it.
// Running it over a scan is session.h's matter.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "sat/nn/sat/sat_config.h"
#include "sat/tensor/context.h"

namespace sat {

struct EmbeddingBank;  // text/embedding_bank.h
struct ModelBytes;     // dry_run.h
class SatModel;        // sat/sat_model.h

struct ModelOptions {
  std::string model;          // .safetensors, .pth, .pt or .bin
  std::string config;         // JSON description for a model that carries none; overrides one that it carries
  std::string bank;           // prompt embeddings made before; or
  std::string text_model;     // the text encoder, with
  std::string vocabulary;     // its word pieces (vocab.txt)
  int threads = 0;            // that load it; 0: as many processors as this process may use
  int64_t max_ram = 0;        // bytes the whole process may hold while it loads; 0: no limit
  int64_t machine_bytes = 0;  // that the process can have at all; 0: unknown. Bounds loading where max_ram does not
  CpuLevel cpu = best_cpu_level();
  Precision precision = Precision::exact;
  DeviceHandle device;              // cuda::open_device(); null: everything on the CPU
  std::function<bool()> cancelled;  // asked often while it loads; true: throws Cancelled
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
