// A model with its text side, loaded from files: constant, and shared by the sessions that run it.
// The network itself is in sat/sat_model.h; running it over a scan is session.h's.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "sat/nn/run/plan.h"
#include "sat/nn/text/embedding_bank.h"
#include "sat/tensor/context.h"

namespace sat {

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
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const ModelOptions& options() const { return options_; }
  const SatConfig& config() const { return network_->config(); }
  const SatModel& network() const { return *network_; }
  const ModelBytes& bytes() const { return bytes_; }                   // planned; held from now on
  const std::string& identity() const { return identity_; }            // sha256
  const std::string& text_identity() const { return text_identity_; }  // sha256
  bool pairing_checked() const { return pairing_checked_; }            // the text side is known to belong to the model
  const EmbeddingBank* bank() const { return bank_ ? &*bank_ : nullptr; }
  int64_t text_bytes() const { return text_bytes_; }  // of the CPU's memory, while prompts are encoded; 0 with a bank

  /// Options of a context that runs this model: its CPU level and precision, and the device that it lies on.
  ContextOptions context_options() const;

 private:
  explicit Model(const ModelOptions& options) : options_(options) {}
  void load(const Context& context);
  void read_text_side(const struct ModelFile& file);

  ModelOptions options_;
  std::optional<SatModel> network_;
  ModelBytes bytes_;
  std::optional<EmbeddingBank> bank_;
  std::string identity_, text_identity_;
  int64_t text_bytes_ = 0;
  bool pairing_checked_ = false;
};

}  // namespace sat
