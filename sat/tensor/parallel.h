// Private. A small thread pool whose results do not depend on the number of threads.
// Knows nothing of tensors.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace sat {

/// Worker threads of one context. The calling thread works too, so `threads` = 1 starts none.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);  // 0: usable_processors() of machine.h
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const;

  /// Runs body(chunk) for every chunk in [0, chunks), each exactly once, in no fixed order. Returns when all are done.
  /// The first exception thrown by a body is thrown again here. A call from inside a body runs serially.
  void run(int64_t chunks, const std::function<void(int64_t)>& body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Calls body(first, last) on consecutive pieces of [0, count) of `grain` elements, on the current context's threads.
/// The pieces depend on count and grain alone, so a body that owns its piece gives the same bits for any thread count.
/// Throws Cancelled when the context says so, which is asked before every piece; does nothing else in a dry context.
void parallel_for(int64_t count, int64_t grain, const std::function<void(int64_t first, int64_t last)>& body);

/// a / b, rounded up; divide_up(count, grain) is the number of pieces that parallel_for makes.
constexpr int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace sat
