// Private: the CPU as a backend. Each family of ops is a file of this folder: its plain form, which is the readable
// reference, and its vector form, chosen by the current context's CPU level.
#pragma once

#include <memory>

#include "sat/tensor/device/backend.h"

namespace sat::cpu {

struct AmxLoops;  // amx/matrix_piece.h

/// `emulated`: loops in place of the processor's matrix units, for tests; a context that has them chooses kernels as on
/// a processor with AMX.
DeviceHandle make_backend(int64_t max_bytes, bool dry, const AmxLoops* emulated = nullptr);

class CpuRuntime : public Runtime {
 public:
  CpuRuntime(int64_t max_bytes, bool dry);

  bool dry() const;
  Device device() const override { return Device::cpu; }
  const std::string& name() const override { return name_; }
  std::shared_ptr<Memory> memory() const override { return memory_; }
  std::shared_ptr<BlockAllocator> planned_memory() const override { return nullptr; }
  int64_t fixed_bytes() const override { return 0; }

  void upload(void* to, const void* host, int64_t bytes) override { copy(to, host, bytes); }
  void download(void* host, const void* from, int64_t bytes) override { copy(host, from, bytes); }
  void copy(void* to, const void* from, int64_t bytes) override;
  void zero(void* to, int64_t bytes) override;
  void copy_runs(void* to, int64_t to_pitch, const void* from, int64_t from_pitch, int64_t run, int64_t count) override;
  void zero_runs(void* to, int64_t pitch, int64_t run, int64_t count) override;
  void synchronize() override {}

  bool captures() const override { return false; }
  void begin_capture() override;
  std::unique_ptr<Graph> end_capture() override;
  void launch(const Graph& graph) override;
  std::shared_ptr<void> keep_lists() override { return nullptr; }
  Tensor staging(const Shape& shape) override { return Tensor(shape); }
  void start_upload(Tensor& to, const Tensor& staged) override;
  void take_upload(Tensor& to, const Tensor& from) override;
  void wait_for_upload() override {}

 private:
  std::string name_ = "cpu";
  std::shared_ptr<Memory> memory_;
};

class CpuBackend : public Backend {
 public:
  CpuBackend(int64_t max_bytes, bool dry, const AmxLoops* emulated) : runtime_(max_bytes, dry), emulated_(emulated) {}

  Runtime& runtime() override { return runtime_; }
  bool holds(DType features) const override { return features == DType::f32 || features == DType::f16; }
  DeviceHandle dry_run(int64_t max_bytes) const override { return make_backend(max_bytes, true, emulated_); }
  DeviceHandle another(int64_t max_bytes) const override { return make_backend(max_bytes, runtime_.dry(), emulated_); }
  SAT_BACKEND_OPS(override);

 private:
  ConvBlockWeight pack(const Tensor& weight, const ConvSite& site, int64_t up) const;
  const AmxLoops* amx_loops() const;  // null where the processor has no matrix units and nothing stands in for them

  CpuRuntime runtime_;
  const AmxLoops* emulated_;
};

}  // namespace sat::cpu
