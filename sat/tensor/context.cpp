// Contexts, and what the processor offers.
#include "sat/tensor/context.h"

#include <utility>

#include "sat/tensor/cpu/backend.h"
#include "sat/tensor/device/backend.h"
#include "sat/tensor/memory/block_allocator.h"
#include "sat/tensor/memory/memory.h"
#include "sat/tensor/parallel.h"
#include "sat/tensor/profile.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace sat {

namespace {
thread_local Context* current_context = nullptr;
thread_local const char* op_of_this_thread = "this code";

#if defined(__x86_64__)
bool has_avx512() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("avx512f") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
#else
bool has_avx512() { return false; }
#endif

#if defined(__x86_64__) && defined(__linux__)
/// Processor, operating system, palette, and the permission that Linux wants asked for since tiles enlarge the state
/// that it saves for a thread.
bool find_amx() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  const auto bit = [](unsigned word, int index) { return (word >> index & 1) != 0; };
  if (!has_avx512() || !__get_cpuid(1, &a, &b, &c, &d) || !bit(c, 27)) return false;         // OSXSAVE
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !bit(d, 22) || !bit(d, 24)) return false;  // AMX-BF16, AMX-TILE
  if (a < 1 || !__get_cpuid_count(7, 1, &a, &b, &c, &d) || !bit(a, 5)) return false;         // AVX512-BF16
  unsigned low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  if (!bit(low, 17) || !bit(low, 18)) return false;  // tile configuration and tile data are saved
  // Palette 1: 8 tiles (b, upper half) of 16 rows (c) of 64 bytes (b, lower half).
  if (!__get_cpuid_count(0x1D, 1, &a, &b, &c, &d)) return false;
  if ((b >> 16) < 8 || (b & 0xFFFF) < 64 || (c & 0xFFFF) < 16) return false;
  constexpr int kAskForFeature = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kAskForFeature, kTileData) == 0;
}
#else
bool find_amx() { return false; }
#endif
}  // namespace

bool amx_available() {
  static const bool available = find_amx();
  return available;
}

const char* name_of(CpuLevel level) {
  switch (level) {
    case CpuLevel::plain: return "plain";
    case CpuLevel::avx2: return "avx2";
    case CpuLevel::avx512: return "avx512";
    case CpuLevel::amx: return "amx";
  }
  return "?";
}

CpuLevel best_cpu_level() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (amx_available()) return CpuLevel::amx;
  if (has_avx512()) return CpuLevel::avx512;
  if (avx2) return CpuLevel::avx2;
#endif
  return CpuLevel::plain;
}

CpuLevel parse_cpu_level(const std::string& name) {
  for (CpuLevel level : {CpuLevel::plain, CpuLevel::avx2, CpuLevel::avx512, CpuLevel::amx}) {
    if (name != name_of(level)) continue;
    SAT_CHECK(level <= best_cpu_level(), "this processor does not run ", name, "; its best is ",
              name_of(best_cpu_level()));
    return level;
  }
  fail("unknown CPU level '", name, "'; it is one of plain, avx2, avx512, amx");
}

const char* name_of(Precision precision) { return precision == Precision::exact ? "exact" : "fast"; }

Precision parse_precision(const std::string& name) {
  for (Precision precision : {Precision::exact, Precision::fast}) {
    if (name == name_of(precision)) return precision;
  }
  fail("unknown precision '", name, "'; it is one of exact, fast");
}

Context::Context(const ContextOptions& options)
    : host_(options.host ? options.host : cpu::make_backend(options.max_bytes, options.dry)),
      device_(options.device),
      threads_(std::make_unique<ThreadPool>(options.dry ? 1 : options.threads)),
      thread_count_(options.dry && options.threads > 0 ? options.threads : threads_->size()),
      cpu_(options.cpu),
      precision_(options.precision),
      on_profile_(options.on_profile),
      cancelled_(options.cancelled),
      dry_(options.dry) {
  SAT_CHECK(cpu_ <= best_cpu_level(), "this processor does not run ", name_of(cpu_));
  memory_ = std::static_pointer_cast<CachingAllocator>(host_->runtime().memory());
}

Context::~Context() = default;

Device Context::compute_device() const { return device_ ? device_->runtime().device() : Device(Device::cpu); }

std::shared_ptr<BlockAllocator> Context::planned_memory() const {
  return device_ ? device_->runtime().planned_memory() : nullptr;
}

const std::string& Context::device_name() const { return runtime(compute_device()).name(); }

int64_t Context::device_fixed_bytes() const { return runtime(compute_device()).fixed_bytes(); }

void Context::synchronize() const { runtime(compute_device()).synchronize(); }

Backend& Context::backend(Device device) const {
  if (device == Device::cpu) return *host_;
  SAT_CHECK(device == compute_device(), "a tensor lies on ", device, ", the current context computes on ",
            compute_device());
  return *device_;
}

Runtime& Context::runtime(Device device) const { return backend(device).runtime(); }

void Context::stop_if_cancelled() const {
  if (cancelled()) throw Cancelled("cancelled");
}

ContextOptions Context::dry_run() const {
  ContextOptions options;
  options.threads = thread_count_;
  options.cpu = cpu_;
  options.precision = precision_;
  options.host = host_->dry_run();
  if (device_) options.device = device_->dry_run();
  options.cancelled = cancelled_;
  options.dry = true;
  return options;
}

DeviceHandle device_beside(const DeviceHandle& device, int64_t taken) {
  return device->another(device->runtime().planned_memory()->max_bytes() - taken);
}

ContextOptions Context::beside(int64_t taken) const {
  ContextOptions options;
  options.threads = thread_count_;
  options.cpu = cpu_;
  options.precision = precision_;
  options.host = host_->another();
  if (device_) options.device = device_beside(device_, taken);
  options.on_profile = on_profile_;
  options.cancelled = cancelled_;
  options.dry = dry_;
  return options;
}

Context& Context::current() {
  if (current_context) return *current_context;
  thread_local Context fallback([] {
    ContextOptions options;
    options.threads = 1;
    return options;
  }());
  return fallback;
}

const char* profile::current_op() { return op_of_this_thread; }
const char* profile::Range::enter(const char* name) { return std::exchange(op_of_this_thread, name); }

UseContext::UseContext(Context& context) : previous_(current_context) { current_context = &context; }

UseContext::~UseContext() { current_context = previous_; }

}  // namespace sat
