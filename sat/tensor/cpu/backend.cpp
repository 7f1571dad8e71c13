// The CPU's bytes: copies and zeros, threaded where they are long.
#include "sat/tensor/cpu/backend.h"

#include <cstring>

#include "sat/tensor/cpu/amx/voxels/voxel_piece.h"
#include "sat/tensor/memory/memory.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kZeroGrain = 1 << 22;  // bytes a piece
constexpr int64_t kRunGrain = 1 << 17;   // bytes of runs a piece, at least

int64_t runs_a_piece(int64_t run) { return std::max<int64_t>(1, kRunGrain / std::max<int64_t>(1, run)); }

[[noreturn]] void fail_capture() { fail("work on the CPU is not captured"); }

}  // namespace

const AmxLoops kProcessorTiles{{amx_lines, amx_quads, amx_take, amx_whole},
                               amx_dense,
                               amx_head,
                               amx_attention,
                               amx_up,
                               amx_scores,
                               amx_few_channels};

DeviceHandle make_backend(int64_t max_bytes, bool dry, const AmxLoops* emulated) {
  return std::make_shared<CpuBackend>(max_bytes, dry, emulated);
}

const AmxLoops* CpuBackend::amx_loops() const {
  if (emulated_) return emulated_;
  return Context::current().cpu() == CpuLevel::amx ? &kProcessorTiles : nullptr;
}

CpuRuntime::CpuRuntime(int64_t max_bytes, bool dry) : memory_(std::make_shared<CachingAllocator>(max_bytes, dry)) {}

bool CpuRuntime::dry() const { return memory_->dry(); }

void CpuRuntime::copy(void* to, const void* from, int64_t bytes) {
  if (memory_->dry() || bytes == 0) return;
  std::memcpy(to, from, size_t(bytes));
}

void CpuRuntime::zero(void* to, int64_t bytes) {
  parallel_for(bytes, kZeroGrain, [&](int64_t first, int64_t last) {
    std::memset(static_cast<char*>(to) + first, 0, size_t(last - first));
  });
}

void CpuRuntime::copy_runs(void* to, int64_t to_pitch, const void* from, int64_t from_pitch, int64_t run,
                           int64_t count) {
  parallel_for(count, runs_a_piece(run), [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      std::memcpy(static_cast<char*>(to) + i * to_pitch, static_cast<const char*>(from) + i * from_pitch, size_t(run));
    }
  });
}

void CpuRuntime::zero_runs(void* to, int64_t pitch, int64_t run, int64_t count) {
  parallel_for(count, runs_a_piece(run), [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) std::memset(static_cast<char*>(to) + i * pitch, 0, size_t(run));
  });
}

void CpuRuntime::begin_capture() { fail_capture(); }
std::unique_ptr<Runtime::Graph> CpuRuntime::end_capture() { fail_capture(); }
void CpuRuntime::launch(const Graph&) { fail_capture(); }

void CpuRuntime::start_upload(Tensor& to, const Tensor& staged) { copy(to.raw(), staged.raw(), to.bytes()); }
void CpuRuntime::take_upload(Tensor& to, const Tensor& from) { copy(to.raw(), from.raw(), to.bytes()); }

}  // namespace sat::cpu
