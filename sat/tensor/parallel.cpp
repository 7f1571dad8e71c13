// The thread pool. One job at a time; chunks are taken from a shared counter.
#include "sat/tensor/parallel.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "sat/tensor/context.h"
#include "sat/tensor/memory/machine.h"

namespace sat {

namespace {
thread_local bool inside_job = false;
}

struct ThreadPool::State {
  std::vector<std::thread> workers;
  std::mutex one_job;  // callers from several threads take turns
  std::mutex mutex;
  std::condition_variable wake, done;
  const std::function<void(int64_t)>* body = nullptr;
  std::atomic<int64_t> next{0};
  int64_t chunks = 0;
  uint64_t generation = 0;
  int busy = 0;
  bool stop = false;
  std::exception_ptr error;

  void work() {
    inside_job = true;
    try {
      for (int64_t chunk = next++; chunk < chunks; chunk = next++) (*body)(chunk);
    } catch (...) {
      std::lock_guard<std::mutex> lock(mutex);
      if (!error) error = std::current_exception();
      next = chunks;  // the others stop after their current chunk
    }
    inside_job = false;
  }

  void serve() {
    uint64_t seen = 0;
    std::unique_lock<std::mutex> lock(mutex);
    for (;;) {
      wake.wait(lock, [&] { return stop || generation != seen; });
      if (stop) return;
      seen = generation;
      lock.unlock();
      work();
      lock.lock();
      if (--busy == 0) done.notify_one();
    }
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  if (threads <= 0) threads = usable_processors();
  state_->workers.reserve(size_t(threads - 1));
  try {
    for (int i = 1; i < threads; ++i) state_->workers.emplace_back([this] { state_->serve(); });
  } catch (const std::exception&) {
    // The machine gives no more threads, or no memory for one. Those that started are enough: results do not depend on
    // their number.
  }
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard<std::mutex> lock(state_->mutex);
    state_->stop = true;
  }
  state_->wake.notify_all();
  for (std::thread& worker : state_->workers) worker.join();
}

int ThreadPool::size() const { return int(state_->workers.size()) + 1; }

void ThreadPool::run(int64_t chunks, const std::function<void(int64_t)>& body) {
  if (inside_job || chunks <= 1 || state_->workers.empty()) {
    for (int64_t chunk = 0; chunk < chunks; ++chunk) body(chunk);
    return;
  }
  std::lock_guard<std::mutex> turn(state_->one_job);
  {
    std::lock_guard<std::mutex> lock(state_->mutex);
    state_->body = &body;
    state_->chunks = chunks;
    state_->next = 0;
    state_->busy = int(state_->workers.size());
    state_->error = nullptr;
    ++state_->generation;
  }
  state_->wake.notify_all();
  state_->work();
  std::unique_lock<std::mutex> lock(state_->mutex);
  state_->done.wait(lock, [&] { return state_->busy == 0; });
  state_->body = nullptr;
  if (state_->error) std::rethrow_exception(std::exchange(state_->error, nullptr));
}

void parallel_for(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
  if (count <= 0) return;
  Context& context = Context::current();
  context.stop_if_cancelled();
  if (context.dry()) return;
  const auto caller = std::this_thread::get_id();
  context.threads().run(divide_up(count, grain), [&](int64_t piece) {
    UseContext use(context);  // workers see the caller's context
    // An op may take seconds, a piece of it does not. Only the caller asks: it is its callback.
    if (std::this_thread::get_id() == caller) context.stop_if_cancelled();
    body(piece * grain, std::min(count, (piece + 1) * grain));
  });
}

}  // namespace sat
