// Eager, recorded, replayed.
#include "sat/nn/run/window_runner.h"

#include <map>
#include <utility>

#include "sat/tensor/context.h"
#include "sat/tensor/memory/memory.h"

namespace sat {

WindowRunner::WindowRunner(const SatModel& model, const Tensor& queries, const std::array<int64_t, 3>& window, Cut cut,
                           int64_t windows)
    : model_(model),
      queries_(resident(queries)),
      window_({window[0], window[1], window[2], 1}),
      cut_(std::move(cut)),
      windows_(windows) {
  if (!Context::current().accelerator()) return;
  staged_ = accelerator().staging(window_);
  next_ = Tensor(window_, DType::f32, Device::cuda);
  input_ = Tensor(window_, DType::f32, Device::cuda);
  upload(0);
}

WindowAnswer WindowRunner::compute(Tensor window, const std::function<void(double)>& on_progress) const {
  ImageFeatures image = model_.look(std::move(window), on_progress);
  const Tensor masks = model_.mask_vectors(model_.decode(queries_, image.memory));
  return {std::exchange(image.per_voxel[0], Features()), masks};
}

void WindowRunner::upload(int64_t i) {
  if (i > 0) accelerator().wait_for_upload();
  cut_(i, staged_);
  accelerator().start_upload(next_, staged_);
}

void WindowRunner::record() {
  accelerator().begin_recording();
  try {
    recorded_ = compute(input_, {});
  } catch (...) {
    accelerator().end_recording();
    throw;
  }
  recording_ = accelerator().end_recording();
  live_bytes_ = accelerator().memory()->live_bytes();
}

/// All windows take the same memory, so a rehearsal computes one, aside, and repeats what it held.
WindowAnswer WindowRunner::imagine() {
  const std::shared_ptr<Memory>& memory = Context::current().memory();
  if (network_bytes_ == 0) {
    Context aside(Context::current().rehearsal());
    UseContext use(aside);
    pattern_ = compute(Tensor(window_), {});
    network_bytes_ = aside.memory()->peak_bytes();
  }
  memory->came_and_went(network_bytes_);
  WindowAnswer answer = pattern_;
  std::map<const Buffer*, std::shared_ptr<Buffer>> own;  // tensors that share a buffer go on sharing it
  Features& features = answer.features;
  for (Tensor* x : {&features.values, &features.center, &features.factor, &features.shift, &answer.masks}) {
    if (x->empty()) continue;
    std::shared_ptr<Buffer>& buffer = own[x->buffer.get()];
    if (!buffer) buffer = std::make_shared<Buffer>(memory, x->buffer->bytes());
    x->buffer = buffer;
  }
  return answer;
}

WindowAnswer WindowRunner::run(int64_t i, const std::function<void(double)>& on_progress) {
  if (input_.empty()) {
    if (Context::current().dry()) return imagine();
    Tensor window(window_);
    cut_(i, window);
    return compute(std::move(window), on_progress);
  }
  accelerator().take_upload(input_, next_);
  WindowAnswer answer;
  if (i == 0) {
    answer = compute(input_, on_progress);
  } else {
    if (i == 1) record();
    SAT_CHECK(live_bytes_ == accelerator().memory()->live_bytes(),
              "a window's recorded work may not run: ", accelerator().memory()->live_bytes(),
              " bytes live on the device, ", live_bytes_, " when it was recorded");
    if (recording_) accelerator().replay(*recording_);
    answer = recorded_;
  }
  if (i + 1 < windows_) upload(i + 1);
  return answer;
}

}  // namespace sat
