// What a computation runs with: threads, memory, the CPU's instruction set, and who listens to the profile.
// There is no global state: a Context is made by the caller and entered by UseContext for the current thread.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "sat/tensor/tensor.h"

namespace sat {

class Backend;           // backend.h
class BlockAllocator;    // memory/block_allocator.h
class CachingAllocator;  // memory/memory.h
class Runtime;           // runtime.h
class Tape;              // autograd/tape.h
class ThreadPool;        // parallel.h

/// A device that models live and compute on, opened by cuda::open_device(); null: the CPU.
using DeviceHandle = std::shared_ptr<Backend>;

/// Which form of the hot loops runs. `plain` is portable C++; the others need the CPU features of their name. `amx` is
/// avx512 with matrix units for convolutions in bf16.
enum class CpuLevel : uint8_t { plain, avx2, avx512, amx };
const char* name_of(CpuLevel level);
CpuLevel best_cpu_level();  // what this processor and operating system offer
/// "plain", "avx2", "avx512", "amx"; throws Error, also if absent here.
CpuLevel parse_cpu_level(const std::string& name);

/// True where processor and operating system offer matrix units for bf16 (AMX) and granted them to this process; the
/// first call asks.
bool amx_available();

/// What results may cost in accuracy. `exact`: every convolution within 1e-5 (rms) of its output's standard deviation,
/// features held in f32. `fast`: within 1e-2, the largest features held in f16, and bf16 matrix units where the
/// processor has them.
enum class Precision : uint8_t { exact, fast };
const char* name_of(Precision precision);
Precision parse_precision(const std::string& name);  // "exact", "fast"; throws Error

/// One profiling range that has ended.
struct ProfileEvent {
  const char* name;  // the op, for example "conv3d"
  Shape shape;       // of its main input
  double seconds;
};

struct ContextOptions {
  int threads = 0;        // 0: as many processors as this process may use
  int64_t max_bytes = 0;  // cap on tensor memory of the CPU; 0: none
  CpuLevel cpu = best_cpu_level();
  Precision precision = Precision::exact;
  DeviceHandle device = {};  // where models live and compute; null: the CPU
  DeviceHandle host = {};    // in place of the CPU's own backend, for tests of emulated instructions
  /// Called on the computing thread after each op, if set. What it throws is lost, with that op's line.
  std::function<void(const ProfileEvent&)> on_profile = {};
  std::function<bool()> cancelled = {};  // asked often, if set, in a dry run too; when true, the op throws Cancelled
  bool dry = false;                      // count memory, compute nothing: tensors are virtual, and loops do not run
};

/// Threads, memory and kernel choice of one caller. Results do not depend on the number of threads.
class Context {
 public:
  explicit Context(const ContextOptions& options = {});
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  const std::shared_ptr<CachingAllocator>& memory() const { return memory_; }  // of the CPU
  /// Null where everything is computed on the CPU.
  const DeviceHandle& device() const { return device_; }
  Device compute_device() const;
  /// The memory of the device that computes, asked for at once as planned; null on the CPU.
  std::shared_ptr<BlockAllocator> planned_memory() const;
  const std::string& device_name() const;  // "cpu", "cuda:0 (NVIDIA H100)"
  int64_t device_fixed_bytes() const;      // held on it beside planned_memory()
  void synchronize() const;  // until the device has done what was asked of it; throws Error for what went wrong there
  /// Of the CPU, or of the device that computes. Throws Error for any other.
  Backend& backend(Device device) const;
  Runtime& runtime(Device device) const;

  ThreadPool& threads() const { return *threads_; }
  /// How many threads work in a real run; in a dry run too, which itself runs on one.
  int thread_count() const { return thread_count_; }
  CpuLevel cpu() const { return cpu_; }
  Precision precision() const { return precision_; }
  const std::function<void(const ProfileEvent&)>& on_profile() const { return on_profile_; }
  bool cancelled() const { return cancelled_ && cancelled_(); }
  void stop_if_cancelled() const;  // throws Cancelled
  const std::function<bool()>& on_cancelled() const { return cancelled_; }
  void set_cancelled(std::function<bool()> cancelled) { cancelled_ = std::move(cancelled); }

  /// What records the ops that run in this context, or null: nothing is recorded.
  Tape* tape() const { return tape_; }
  void set_tape(Tape* tape) { tape_ = tape; }

  /// True in a dry run, which runs the same code to learn its peak memory.
  bool dry() const { return dry_; }
  /// Options of a dry run of what would run in this context, and can be cancelled as this can.
  ContextOptions dry_run() const;

  /// Options of one more context of this kind. Tensors of either can be read in both; memory is apart, and the cap of
  /// the device's memory is less by the `taken` bytes that this one holds there.
  ContextOptions beside(int64_t taken) const;

  /// The context entered last on this thread, or a private one-threaded, uncapped one.
  static Context& current();

 private:
  std::shared_ptr<CachingAllocator> memory_;
  DeviceHandle host_, device_;
  std::unique_ptr<ThreadPool> threads_;
  int thread_count_;
  CpuLevel cpu_;
  Precision precision_;
  std::function<void(const ProfileEvent&)> on_profile_;
  std::function<bool()> cancelled_;
  Tape* tape_ = nullptr;
  bool dry_;
};

/// One more of the same device, with memory and a queue of its own; the cap of its memory is less by `taken` bytes.
DeviceHandle device_beside(const DeviceHandle& device, int64_t taken);

/// Makes a context current on this thread while it lives; nests.
class UseContext {
 public:
  explicit UseContext(Context& context);
  ~UseContext();
  UseContext(const UseContext&) = delete;
  UseContext& operator=(const UseContext&) = delete;

 private:
  Context* previous_;
};

}  // namespace sat
