// Private: what a device does for tensors beside computing: it holds bytes, moves them, and keeps its work in order.
// Work is queued: a call returns before its result is there, later calls see it, and only download() and synchronize()
// wait. On the CPU every call is done when it returns. A runtime belongs to one context and is used from one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "sat/tensor/tensor.h"

namespace sat {

class BlockAllocator;  // memory/block_allocator.h
class Memory;          // memory/memory.h

class Runtime {
 public:
  virtual ~Runtime() = default;

  virtual Device device() const = 0;
  virtual const std::string& name() const = 0;  // "cpu", "cuda:0 (NVIDIA H100)"
  virtual std::shared_ptr<Memory> memory() const = 0;
  /// The same where memory is asked for at once, as planned; null on the CPU.
  virtual std::shared_ptr<BlockAllocator> planned_memory() const = 0;
  virtual int64_t fixed_bytes() const = 0;  // held beside that memory as long as the device is open

  // ---- bytes ----
  virtual void upload(void* to, const void* host, int64_t bytes) = 0;
  virtual void download(void* host, const void* from, int64_t bytes) = 0;  // waits
  virtual void copy(void* to, const void* from, int64_t bytes) = 0;        // within the device
  virtual void zero(void* to, int64_t bytes) = 0;
  /// `count` runs of `run` bytes from every `from_pitch` bytes to every `to_pitch` bytes; the two must not overlap.
  virtual void copy_runs(void* to, int64_t to_pitch, const void* from, int64_t from_pitch, int64_t run,
                         int64_t count) = 0;
  /// Zeros in `count` runs of `run` bytes, one every `pitch` bytes.
  virtual void zero_runs(void* to, int64_t pitch, int64_t run, int64_t count) = 0;
  /// Waits for everything queued; throws Error for what went wrong in it, a result that is not finite included.
  virtual void synchronize() = 0;

  // ---- captured work ----
  /// Whether queued work can be captured as a graph and launched again.
  virtual bool captures() const = 0;
  class Graph {
   public:
    virtual ~Graph() = default;
  };
  /// Work queued between the two calls is not run; the graph holds it, with the addresses that it works on. In a dry
  /// run it is null.
  virtual void begin_capture() = 0;
  virtual std::unique_ptr<Graph> end_capture() = 0;
  virtual void launch(const Graph& graph) = 0;
  /// While what is returned lives, lists of the CPU's that queued work reads (rows to gather, regions, taps) stay on
  /// the device, and equal ones are taken from there: work that ran once can then be captured, and launched as long.
  /// Null where work is not captured.
  virtual std::shared_ptr<void> keep_lists() = 0;

  // ---- uploads beside the work ----
  /// f32 in the CPU's memory, where the device can fetch it while it computes.
  virtual Tensor staging(const Shape& shape) = 0;
  /// Starts copying `staged` to `to`, on the device, beside what is queued, once the last take_upload() from there is
  /// done.
  virtual void start_upload(Tensor& to, const Tensor& staged) = 0;
  /// Queues: wait for the upload to `from`, copy it to `to`.
  virtual void take_upload(Tensor& to, const Tensor& from) = 0;
  virtual void wait_for_upload() = 0;  // until `staged` may be written again
};

}  // namespace sat
