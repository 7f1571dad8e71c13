// Areas under curves from sorted rows.
#include "sat/nn/evaluation/metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "sat/tensor/error.h"

namespace sat {

RankedRows::RankedRows(const float* scores, int64_t score_stride, const int8_t* states, int64_t state_stride,
                       int64_t rows) {
  SAT_CHECK(rows <= std::numeric_limits<int32_t>::max(), "scores of ", rows, " rows, at most 2^31 - 1 are ranked");
  for (int64_t i = 0; i < rows; ++i) {
    const int8_t state = states[i * state_stride];
    if (state < 0) continue;
    const float score = scores[i * score_stride];
    SAT_CHECK(!std::isnan(score), "the score of row ", i, " is NaN");
    rows_.push_back({score, int32_t(i), state == 1});
    present_ += state == 1;
  }
  std::sort(rows_.begin(), rows_.end(),
            [](const Row& a, const Row& b) { return a.score != b.score ? a.score < b.score : a.at < b.at; });
}

/// Calls visit(score, present, absent) for each tie, by falling score.
template <class Visit>
void RankedRows::each_tie(const int32_t* counts, const Visit& visit) const {
  for (size_t end = rows_.size(); end > 0;) {
    const float score = rows_[end - 1].score;
    int64_t present = 0, absent = 0;
    for (; end > 0 && rows_[end - 1].score == score; --end) {
      const Row& row = rows_[end - 1];
      (row.is_present ? present : absent) += counts ? counts[row.at] : 1;
    }
    visit(double(score), present, absent);
  }
}

std::optional<double> RankedRows::auc(const int32_t* counts) const {
  int64_t present = 0, absent = 0;
  double twice_won = 0;  // pairs in which the present row is above, ties half
  each_tie(counts, [&](double, int64_t more_present, int64_t more_absent) {
    twice_won += double(more_absent) * double(2 * present + more_present);
    present += more_present;
    absent += more_absent;
  });
  if (present == 0 || absent == 0) return {};
  return twice_won / (2 * double(present) * double(absent));
}

std::optional<double> RankedRows::average_precision(const int32_t* counts) const {
  int64_t present = 0, absent = 0;
  double sum = 0;
  each_tie(counts, [&](double, int64_t more_present, int64_t more_absent) {
    present += more_present;
    absent += more_absent;
    if (more_present > 0) sum += double(more_present) * double(present) / double(present + absent);
  });
  if (present == 0) return {};
  return sum / double(present);
}

std::vector<RankedRows::Corner> RankedRows::corners() const {
  std::vector<Corner> corners{{std::numeric_limits<double>::infinity(), 0, 0}};
  each_tie(nullptr, [&](double score, int64_t present, int64_t absent) {
    corners.push_back({score, corners.back().hits + present, corners.back().false_alarms + absent});
  });
  return corners;
}

std::optional<double> Decisions::accuracy() const {
  if (total() == 0) return {};
  return double(hits + rejections) / double(total());
}

std::optional<double> Decisions::f1() const {
  if (hits + misses == 0) return {};
  return 2 * double(hits) / double(2 * hits + false_alarms + misses);
}

std::optional<double> best_threshold(const RankedRows& rows) {
  if (rows.present() == 0 || rows.absent() == 0) return {};
  const std::vector<RankedRows::Corner> corners = rows.corners();
  double best = -1, threshold = 0;
  for (size_t i = 1; i < corners.size(); ++i) {
    const Decisions decided{corners[i].hits, corners[i].false_alarms, rows.present() - corners[i].hits, 0};
    if (*decided.f1() <= best) continue;
    best = *decided.f1();
    const double next = i + 1 < corners.size() ? corners[i + 1].score : corners[i].score;
    threshold = (corners[i].score + next) / 2;
  }
  return threshold;
}

}  // namespace sat
