// What a training's log says, as a picture: losses, validation and learning rate over steps.
#pragma once

#include <vector>

#include "sat/io/words/json.h"
#include "sat/tensor/tensor.h"

namespace sat::cli {

/// Collects lines of log.jsonl, of steps and of validations, and draws them.
class TrainingCurves {
 public:
  void add(const Json& line);
  bool empty() const { return losses_.empty(); }

  /// An RGB image u8 [rows, columns, 3]. Of many steps each point is the mean of a run of them.
  Tensor draw(const std::string& title) const;

 private:
  struct Point {
    int64_t step;
    double value;
  };
  using Series = std::vector<Point>;
  std::vector<std::pair<double, double>> points_of(const Series& series) const;

  int64_t last_ = 0;  // step
  Series losses_, rates_, scores_;
  std::vector<Series> scales_;
  std::vector<std::pair<std::string, Series>> structures_;
};

}  // namespace sat::cli
