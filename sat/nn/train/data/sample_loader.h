// Private. Makes samples ahead of the steps that need them, on threads of its own.
// Knows nothing of how a sample is made: case_sampler.h does.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "sat/nn/train/data/sample.h"

namespace sat {

struct LoaderOptions {
  int64_t batch = 1;              // samples a step, of all processes together
  int64_t rank = 0, ranks = 1;    // this process makes places rank, rank + ranks, ... of every step
  int64_t first_step = 0;         // where to begin, after a resume too
  int64_t last_step = INT64_MAX;  // no step beyond it is prepared
  int workers = 2;                // threads, each with a context of one thread
  int64_t ahead = 4;              // samples that may wait or be in the making, at least one
};

class SampleLoader {
 public:
  using Make = std::function<TrainingSample(int64_t step, int64_t item)>;

  SampleLoader(Make make, const LoaderOptions& options);
  ~SampleLoader();
  SampleLoader(const SampleLoader&) = delete;
  SampleLoader& operator=(const SampleLoader&) = delete;

  /// This process's samples of the next step, in the order of their places: the same for any number of workers. Throws
  /// what making one of them threw; the next call asks for the step after that.
  std::vector<TrainingSample> next();

  int64_t step() const;           // that next() gives
  double waited_seconds() const;  // in next() so far

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sat
