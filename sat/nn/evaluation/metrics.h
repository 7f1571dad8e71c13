// Private. How well scores tell rows with a label from rows without: areas and counts, each row counted some whole
// number of times, so that resampling sorts nothing again. Knows one label at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace sat {

/// Rows whose label is known, by rising score; equal scores are ties.
class RankedRows {
 public:
  /// `states` as Targets has them, `stride` apart; rows that are unknown are left out. Scores must not be NaN.
  RankedRows(const float* scores, int64_t score_stride, const int8_t* states, int64_t state_stride, int64_t rows);

  int64_t present() const { return present_; }
  int64_t absent() const { return int64_t(rows_.size()) - present_; }

  /// Area under the ROC curve: the chance that a present row has the higher score, ties half (Mann and Whitney).
  /// `counts`: how often each row is counted, by its number among all rows; null: once. None where only one state is
  /// there.
  std::optional<double> auc(const int32_t* counts = nullptr) const;
  /// Average precision: the sum of precision times the step in recall over falling scores, ties together, without
  /// interpolation. None where no row is present.
  std::optional<double> average_precision(const int32_t* counts = nullptr) const;

  /// A corner of the curves: what is taken for present at this score and above.
  struct Corner {
    double score;
    int64_t hits, false_alarms;
  };
  /// From nothing taken (an infinite score) to everything.
  std::vector<Corner> corners() const;

 private:
  struct Row {
    float score;
    int32_t at;
    bool is_present;
  };
  template <class Visit>
  void each_tie(const int32_t* counts, const Visit& visit) const;

  std::vector<Row> rows_;
  int64_t present_ = 0;
};

/// What was decided of a label, and what is true.
struct Decisions {
  int64_t hits = 0, false_alarms = 0, misses = 0, rejections = 0;

  int64_t total() const { return hits + false_alarms + misses + rejections; }
  std::optional<double> accuracy() const;  // none of nothing
  std::optional<double> f1() const;        // 2 hits / (2 hits + false alarms + misses); none where no row is present
};

/// The score from which on a row is best taken for present: the highest F1, and of equal ones the highest score; half
/// way to the next lower score. None where no row is present, or every one is.
std::optional<double> best_threshold(const RankedRows& rows);

}  // namespace sat
