// Queued, captured, launched again; and uploads beside the work.
#include "sat/tensor/device/replay.h"

#include <map>
#include <utility>

#include "sat/tensor/context.h"
#include "sat/tensor/device/runtime.h"
#include "sat/tensor/memory/block_allocator.h"
#include "sat/tensor/memory/memory.h"

namespace sat {

namespace {

Runtime& compute_runtime() {
  const Context& context = Context::current();
  return context.runtime(context.compute_device());
}

/// Tensors of the same sizes in memory of their own; those that shared a buffer go on sharing one.
std::vector<Tensor> counted_again(std::vector<Tensor> tensors, const std::shared_ptr<Memory>& memory) {
  std::map<const Buffer*, std::shared_ptr<Buffer>> own;
  for (Tensor& x : tensors) {
    if (x.empty()) continue;
    std::shared_ptr<Buffer>& buffer = own[x.buffer.get()];
    if (!buffer) buffer = std::make_shared<Buffer>(memory, x.buffer->bytes());
    x.buffer = buffer;
  }
  return tensors;
}

}  // namespace

struct Replay::State {
  int64_t runs = 0;
  std::vector<Tensor> results;  // of what was captured; in a dry run on the CPU, a pattern of them
  std::unique_ptr<Runtime::Graph> graph;
  std::shared_ptr<void> lists;  // that captured work reads
  int64_t live_bytes = 0;       // on the device when the work was captured
  int64_t peak_bytes = 0;       // in a dry run on the CPU: what one run holds

  /// Every run takes the same memory, so one is counted aside, and what it held is repeated.
  std::vector<Tensor> count(const Input& input, const Work& work) {
    const std::shared_ptr<CachingAllocator>& memory = Context::current().memory();
    if (runs == 0) {
      Context aside(Context::current().dry_run());
      UseContext use(aside);
      results = work(input());
      peak_bytes = aside.memory()->peak_bytes();
    }
    memory->came_and_went(peak_bytes);
    return counted_again(results, memory);
  }

  void capture(const Tensor& input, const Work& work, Runtime& runtime) {
    runtime.begin_capture();
    try {
      results = work(input);
    } catch (...) {
      runtime.end_capture();
      throw;
    }
    graph = runtime.end_capture();
    live_bytes = runtime.memory()->live_bytes();
  }

  std::vector<Tensor> launch(const Tensor& input, const Work& work, Runtime& runtime) {
    if (runs == 1) capture(input, work, runtime);
    const int64_t live = runtime.memory()->live_bytes();
    SAT_CHECK(live == live_bytes, "captured work may not run: ", live, " bytes live on the device, ", live_bytes,
              " when it was captured");
    if (graph) runtime.launch(*graph);
    return results;
  }
};

Replay::Replay() : state_(std::make_unique<State>()) {}
Replay::~Replay() = default;

std::vector<Tensor> Replay::run(const Input& input, const Work& work) {
  Runtime& runtime = compute_runtime();
  const bool captures = runtime.captures();
  if (!state_->lists) state_->lists = runtime.keep_lists();
  std::vector<Tensor> results;
  if (!captures && Context::current().dry()) {
    results = state_->count(input, work);
  } else if (captures && state_->runs > 0) {
    results = state_->launch(input(), work, runtime);
  } else {
    results = work(input());
  }
  ++state_->runs;
  return results;
}

struct Prefetch::State {
  Shape shape;
  int64_t count;
  Make make;
  Tensor staged, next, input;  // on a device: what the CPU writes, where it goes, and where the work finds it

  void bring(int64_t i) {
    Runtime& runtime = compute_runtime();
    if (i > 0) runtime.wait_for_upload();
    make(i, staged);
    runtime.start_upload(next, staged);
  }
};

Prefetch::Prefetch(const Shape& shape, int64_t count, Make make)
    : state_(std::make_unique<State>(State{shape, count, std::move(make), {}, {}, {}})) {
  const Device device = Context::current().compute_device();
  if (device == Device::cpu) return;
  state_->staged = compute_runtime().staging(shape);
  state_->next = Tensor(shape, DType::f32, device);
  state_->input = Tensor(shape, DType::f32, device);
  state_->bring(0);
}

Prefetch::~Prefetch() = default;

Tensor Prefetch::take(int64_t i) {
  if (state_->input.empty()) {
    Tensor input(state_->shape);
    state_->make(i, input);
    return input;
  }
  compute_runtime().take_upload(state_->input, state_->next);
  return state_->input;
}

void Prefetch::bring_next(int64_t i) {
  if (!state_->input.empty() && i + 1 < state_->count) state_->bring(i + 1);
}

}  // namespace sat
