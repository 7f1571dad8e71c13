// Threads that make samples in the order in which steps ask for them.
#include "sat/nn/train/data/sample_loader.h"

#include <chrono>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "sat/tensor/context.h"

namespace sat {

struct SampleLoader::State {
  struct Made {
    TrainingSample sample;
    std::exception_ptr error;
  };

  Make make;
  LoaderOptions options;
  int64_t share = 0;  // samples of a step that this process makes
  std::vector<std::thread> workers;

  std::mutex mutex;
  std::condition_variable room, ready;
  int64_t begun = 0, taken = 0;     // samples, counted from the first step on
  std::map<int64_t, Made> waiting;  // by their number
  bool stopping = false;
  double waited = 0;

  int64_t step_of(int64_t number) const { return options.first_step + number / share; }
  int64_t item_of(int64_t number) const { return options.rank + number % share * options.ranks; }

  void work() {
    ContextOptions context_options;
    context_options.threads = 1;
    Context context(context_options);
    UseContext use(context);
    std::unique_lock lock(mutex);
    for (;;) {
      room.wait(lock,
                [&] { return stopping || (begun < taken + options.ahead && step_of(begun) <= options.last_step); });
      if (stopping) return;
      const int64_t number = begun++;
      lock.unlock();
      Made made;
      try {
        made.sample = make(step_of(number), item_of(number));
      } catch (...) {
        made.error = std::current_exception();
      }
      lock.lock();
      waiting.emplace(number, std::move(made));
      ready.notify_all();
    }
  }

  void stop() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    room.notify_all();
    for (std::thread& worker : workers) worker.join();
  }
};

SampleLoader::SampleLoader(Make make, const LoaderOptions& options) : state_(std::make_unique<State>()) {
  SAT_CHECK(options.ranks >= 1 && options.rank >= 0 && options.rank < options.ranks, "loader: rank ", options.rank,
            " of ", options.ranks);
  SAT_CHECK(options.batch >= options.ranks && options.batch <= 1 << 20, "loader: a batch of ", options.batch,
            " samples for ", options.ranks, " processes, needs at least one each");
  SAT_CHECK(options.workers >= 1 && options.workers <= 1024 && options.ahead >= 1 && options.first_step >= 0,
            "loader: ", options.workers, " workers, ", options.ahead, " samples ahead, from step ", options.first_step);
  state_->make = std::move(make);
  state_->options = options;
  state_->share = (options.batch - options.rank + options.ranks - 1) / options.ranks;
  try {
    for (int i = 0; i < options.workers; ++i) state_->workers.emplace_back([this] { state_->work(); });
  } catch (...) {
    state_->stop();
    throw;
  }
}

SampleLoader::~SampleLoader() { state_->stop(); }

std::vector<TrainingSample> SampleLoader::next() {
  State& state = *state_;
  std::vector<TrainingSample> samples;
  std::exception_ptr error;
  const auto start = std::chrono::steady_clock::now();
  std::unique_lock lock(state.mutex);
  SAT_CHECK(state.step_of(state.taken) <= state.options.last_step, "loader: step ", state.step_of(state.taken),
            " lies beyond the last one, ", state.options.last_step);
  for (int64_t i = 0; i < state.share; ++i) {
    state.ready.wait(lock, [&] { return state.waiting.count(state.taken) > 0; });
    State::Made made = std::move(state.waiting.extract(state.taken).mapped());
    ++state.taken;
    state.room.notify_one();
    if (made.error && !error) error = made.error;
    samples.push_back(std::move(made.sample));
  }
  state.waited += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (error) std::rethrow_exception(error);
  return samples;
}

int64_t SampleLoader::step() const {
  const std::lock_guard lock(state_->mutex);
  return state_->step_of(state_->taken);
}

double SampleLoader::waited_seconds() const {
  const std::lock_guard lock(state_->mutex);
  return state_->waited;
}

}  // namespace sat
