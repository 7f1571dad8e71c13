// Private: working memory of an op's threads, counted like any tensor.
#pragma once

#include <mutex>
#include <vector>

#include "sat/tensor/context.h"
#include "sat/tensor/parallel.h"
#include "sat/tensor/tensor.h"

namespace sat::cpu {

/// One array of `floats` for every thread of the current context. Contents are undefined at first use.
class Workspace {
 public:
  explicit Workspace(int64_t floats) {
    for (int i = 0; i < Context::current().thread_count(); ++i) free_.emplace_back(Shape{floats});
  }

  /// One of the arrays, while it lives.
  class Use {
   public:
    explicit Use(Workspace& from) : from_(from) {
      const std::lock_guard<std::mutex> lock(from_.mutex_);
      array_ = std::move(from_.free_.back());
      from_.free_.pop_back();
    }
    ~Use() {
      const std::lock_guard<std::mutex> lock(from_.mutex_);
      from_.free_.push_back(std::move(array_));
    }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    float* data() { return array_.data<float>(); }

   private:
    Workspace& from_;
    Tensor array_;
  };

 private:
  std::mutex mutex_;
  std::vector<Tensor> free_;
};

}  // namespace sat::cpu
