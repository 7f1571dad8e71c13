// Private. A loop's work captured once and run again, and the next input brought to the device beside it.
// Knows neither what the work is nor where it runs: on the CPU work is simply done each time, and in a dry run on the
// CPU its memory is counted once and repeated.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "sat/tensor/tensor.h"

namespace sat {

/// Work that is the same each time but for the contents of its input. Where the device can, the first run is queued as
/// it comes, the second is captured and launched, and later ones are launched alone; then the results of a run are
/// valid until the next one, and no code of the work runs any more. Whatever lives on the device through the loop has
/// to be there before the second run: captured work writes over what it found free.
class Replay {
 public:
  using Input = std::function<Tensor()>;                          // on a device at the same place each time
  using Work = std::function<std::vector<Tensor>(Tensor input)>;  // returns its results, some of them perhaps empty

  Replay();
  ~Replay();
  Replay(const Replay&) = delete;
  Replay& operator=(const Replay&) = delete;

  /// Runs `work`, or what was captured of it, in the current context. Throws Error where captured work may not run any
  /// more, because tensors came to the device, or left it, since.
  std::vector<Tensor> run(const Input& input, const Work& work);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Inputs that are made on the CPU one after another, each brought to the device while the one before is worked on.
class Prefetch {
 public:
  /// make(i, to): writes input i to `to` [shape], f32 on the CPU. Starts with input 0 of `count`.
  using Make = std::function<void(int64_t i, Tensor& to)>;
  Prefetch(const Shape& shape, int64_t count, Make make);
  ~Prefetch();
  Prefetch(const Prefetch&) = delete;
  Prefetch& operator=(const Prefetch&) = delete;

  /// Input i, in order, each once: where the current context computes, in the same place each time on a device.
  Tensor take(int64_t i);
  /// After the work on input i was queued: makes and brings input i + 1.
  void bring_next(int64_t i);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sat
