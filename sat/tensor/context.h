// What a computation runs with: threads, memory, the CPU's instruction set, and who listens to the profile.
// There is no global state: a Context is made by the caller and entered by UseContext for the current thread.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "sat/tensor/tensor.h"

namespace sat {

class Accelerator;  // accelerator.h
class Memory;       // memory.h
class ThreadPool;   // parallel.h

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

/// One finished profiling range.
struct ProfileEvent {
  const char* name;  // the op, for example "conv3d"
  Shape shape;       // of its main input
  double seconds;
};

struct ContextOptions {
  int threads = 0;        // 0: as many processors as this process may use
  int64_t max_bytes = 0;  // cap on tensor memory; 0: none
  CpuLevel cpu = best_cpu_level();
  Precision precision = Precision::exact;
  std::shared_ptr<Accelerator> accelerator = {};  // the device that models live and compute on; none: the CPU
  /// Called on the computing thread after each op, if set. What it throws is lost, with that op's line.
  std::function<void(const ProfileEvent&)> on_profile = {};
  std::function<bool()> cancelled = {};  // asked often, if set, in a rehearsal too; when true, the op throws Cancelled
  bool dry = false;  // count memory, compute nothing: tensors have sizes but no bytes, and loops do not run
};

/// Threads, memory and kernel choice of one engine. Results do not depend on the number of threads.
class Context {
 public:
  explicit Context(const ContextOptions& options = {});
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  const std::shared_ptr<Memory>& memory() const { return memory_; }
  /// Null where everything is computed on the CPU.
  const std::shared_ptr<Accelerator>& accelerator() const { return accelerator_; }
  ThreadPool& threads() const { return *threads_; }
  /// How many threads work in a real run; in a rehearsal too, which itself runs on one.
  int thread_count() const { return thread_count_; }
  CpuLevel cpu() const { return cpu_; }
  Precision precision() const { return precision_; }
  const std::function<void(const ProfileEvent&)>& on_profile() const { return on_profile_; }
  bool cancelled() const { return cancelled_ && cancelled_(); }
  void stop_if_cancelled() const;  // throws Cancelled
  const std::function<bool()>& on_cancelled() const { return cancelled_; }
  /// True in a rehearsal, which runs the same code to learn its peak memory: whoever reads or writes a tensor outside
  /// parallel_for must ask first.
  bool dry() const { return dry_; }
  void set_cancelled(std::function<bool()> cancelled) { cancelled_ = std::move(cancelled); }

  /// Options of a rehearsal of what would run in this context, and can be cancelled as this can.
  ContextOptions rehearsal() const;

  /// The context entered last on this thread, or a private one-threaded, uncapped one.
  static Context& current();

 private:
  std::shared_ptr<Memory> memory_;
  std::shared_ptr<Accelerator> accelerator_;
  std::unique_ptr<ThreadPool> threads_;
  int thread_count_;
  CpuLevel cpu_;
  Precision precision_;
  std::function<void(const ProfileEvent&)> on_profile_;
  std::function<bool()> cancelled_;
  bool dry_;
};

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
