// Contexts, and what the processor offers.
#include "sat/tensor/context.h"

#include "sat/tensor/memory.h"
#include "sat/tensor/parallel.h"

namespace sat {

namespace {
thread_local Context* current_context = nullptr;
}

const char* name_of(CpuLevel level) {
  switch (level) {
    case CpuLevel::plain: return "plain";
    case CpuLevel::avx2: return "avx2";
    case CpuLevel::avx512: return "avx512";
  }
  return "?";
}

CpuLevel best_cpu_level() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (avx2 && avx512) return CpuLevel::avx512;
  if (avx2) return CpuLevel::avx2;
#endif
  return CpuLevel::plain;
}

CpuLevel parse_cpu_level(const std::string& name) {
  for (CpuLevel level : {CpuLevel::plain, CpuLevel::avx2, CpuLevel::avx512}) {
    if (name != name_of(level)) continue;
    SAT_CHECK(level <= best_cpu_level(), "this processor does not run ", name, "; its best is ",
              name_of(best_cpu_level()));
    return level;
  }
  fail("unknown CPU level '", name, "'; it is one of plain, avx2, avx512");
}

const char* name_of(Precision precision) { return precision == Precision::exact ? "exact" : "fast"; }

Precision parse_precision(const std::string& name) {
  for (Precision precision : {Precision::exact, Precision::fast}) {
    if (name == name_of(precision)) return precision;
  }
  fail("unknown precision '", name, "'; it is one of exact, fast");
}

Context::Context(const ContextOptions& options)
    : memory_(std::make_shared<Memory>(options.max_bytes, options.dry)),
      threads_(std::make_unique<ThreadPool>(options.dry ? 1 : options.threads)),
      cpu_(options.cpu),
      precision_(options.precision),
      on_profile_(options.on_profile),
      cancelled_(options.cancelled),
      dry_(options.dry) {
  SAT_CHECK(cpu_ <= best_cpu_level(), "this processor does not run ", name_of(cpu_));
}

Context::~Context() = default;

Context& Context::current() {
  if (current_context) return *current_context;
  thread_local Context fallback([] {
    ContextOptions options;
    options.threads = 1;
    return options;
  }());
  return fallback;
}

UseContext::UseContext(Context& context) : previous_(current_context) { current_context = &context; }

UseContext::~UseContext() { current_context = previous_; }

}  // namespace sat
