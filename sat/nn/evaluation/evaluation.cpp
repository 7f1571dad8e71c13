// Every score on the rows themselves, then on samples of them.
#include "sat/nn/evaluation/evaluation.h"

#include <algorithm>
#include <cmath>

#include "sat/nn/evaluation/metrics.h"
#include "sat/nn/evaluation/random_stream.h"
#include "sat/tensor/error.h"
#include "sat/tensor/parallel.h"

namespace sat {

namespace {

enum Kind : int { kAuc, kAuprc, kAccuracy, kF1, kKinds };
using Values = std::vector<std::optional<double>>;  // [labels + 1, kKinds]: the last are means

Score& score_of(LabelScores& scores, int kind) {
  switch (kind) {
    case kAuc: return scores.auc;
    case kAuprc: return scores.auprc;
    case kAccuracy: return scores.accuracy;
    default: return scores.f1;
  }
}

/// Rows ranked and decided once; scores of any sample of them.
class Scorer {
 public:
  Scorer(const Tensor& probabilities, const Targets& targets, const std::vector<double>& thresholds)
      : targets_(targets), decided_(targets.states.size()) {
    const float* p = probabilities.data<float>();
    const int64_t K = targets.labels, rows = targets.rows();
    for (int64_t k = 0; k < K; ++k) ranked_.emplace_back(p + k, K, targets.states.data() + k, K, rows);
    for (int64_t i = 0; i < rows; ++i) {
      const float* row = p + i * K;
      const int64_t likely = std::max_element(row, row + K) - row;
      for (int64_t k = 0; k < K; ++k) {
        decided_[size_t(i * K + k)] = targets.exclusive ? k == likely : double(row[k]) >= thresholds[size_t(k)];
      }
    }
  }

  const RankedRows& ranked(int64_t label) const { return ranked_[size_t(label)]; }

  Values scores(const int32_t* counts) const {
    const int64_t K = targets_.labels;
    Values values;
    for (int64_t k = 0; k < K; ++k) {
      const Decisions decisions = decisions_of(k, counts);
      values.insert(values.end(),
                    {ranked(k).auc(counts), ranked(k).average_precision(counts), decisions.accuracy(), decisions.f1()});
    }
    return values;
  }

  /// Of classes: the share of rows whose most likely class is theirs.
  std::optional<double> top_accuracy(const int32_t* counts) const {
    int64_t right = 0, all = 0;
    for (int64_t k = 0; k < targets_.labels; ++k) {
      const Decisions decisions = decisions_of(k, counts);
      right += decisions.hits;
      all += decisions.hits + decisions.misses;
    }
    if (all == 0) return {};
    return double(right) / double(all);
  }

 private:
  Decisions decisions_of(int64_t label, const int32_t* counts) const {
    Decisions decisions;
    const int64_t K = targets_.labels;
    for (int64_t i = 0; i < targets_.rows(); ++i) {
      const int8_t state = targets_.row(i)[label];
      if (state < 0) continue;
      const bool decided = decided_[size_t(i * K + label)] != 0;
      int64_t& count = state == 1 ? (decided ? decisions.hits : decisions.misses)
                                  : (decided ? decisions.false_alarms : decisions.rejections);
      count += counts ? counts[i] : 1;
    }
    return decisions;
  }

  const Targets& targets_;
  std::vector<RankedRows> ranked_;
  std::vector<uint8_t> decided_;  // [rows, K]
};

/// Appends the mean of each kind over the labels that have a value in `whole`; none where one of them has none here.
void append_means(Values& values, const Values& whole, const Targets& targets, std::optional<double> top) {
  const int64_t K = targets.labels;
  for (int kind = 0; kind < kKinds; ++kind) {
    double sum = 0;
    int64_t counted = 0;
    bool complete = true;
    for (int64_t k = 0; k < K; ++k) {
      const auto at = size_t(k * kKinds + kind);
      if (!whole[at]) continue;
      complete = complete && values[at].has_value();
      sum += values[at].value_or(0);
      ++counted;
    }
    const bool classes = kind == kAccuracy && targets.exclusive;
    values.push_back(classes ? top : complete && counted > 0 ? std::optional(sum / double(counted)) : std::nullopt);
  }
}

/// How often a sample counts each row.
std::vector<int32_t> draw(const BootstrapOptions& options, int64_t rows, int64_t units, int64_t sample) {
  RandomStream random(options.seed, uint64_t(sample));
  std::vector<int32_t> of_unit(size_t(units), 0);
  for (int64_t i = 0; i < units; ++i) ++of_unit[size_t(random.below(units))];
  if (options.groups.empty()) return of_unit;
  std::vector<int32_t> counts(static_cast<size_t>(rows));
  for (size_t i = 0; i < counts.size(); ++i) counts[i] = of_unit[size_t(options.groups[i])];
  return counts;
}

std::optional<Interval> interval_at(const std::vector<Values>& samples, size_t at, double confidence) {
  std::vector<double> found;
  for (const Values& sample : samples) {
    if (sample[at]) found.push_back(*sample[at]);
  }
  return interval_of(std::move(found), samples.size(), confidence);
}

void check(const Tensor& probabilities, const Targets& targets) {
  SAT_CHECK(targets.labels > 0 && probabilities.shape == Shape({targets.rows(), targets.labels}),
            "probabilities of shape ", probabilities.shape, " for ", targets.rows(), " rows of ", targets.labels,
            " labels");
}

template <class Of>
std::optional<double> mean_over_labels(const Tensor& probabilities, const Targets& targets, const Of& of) {
  check(probabilities, targets);
  double sum = 0;
  int64_t counted = 0;
  const int64_t K = targets.labels;
  for (int64_t k = 0; k < K; ++k) {
    const std::optional<double> one =
        of(RankedRows(probabilities.data<float>() + k, K, targets.states.data() + k, K, targets.rows()));
    sum += one.value_or(0);
    counted += one.has_value();
  }
  if (counted == 0) return {};
  return sum / double(counted);
}

}  // namespace

Evaluation evaluate(const Tensor& probabilities, const Targets& targets, const std::vector<double>& thresholds,
                    const BootstrapOptions& options) {
  check(probabilities, targets);
  const int64_t K = targets.labels, rows = targets.rows();
  SAT_CHECK(int64_t(thresholds.size()) == K, thresholds.size(), " thresholds for ", K, " labels");
  SAT_CHECK(options.groups.empty() || int64_t(options.groups.size()) == rows, options.groups.size(), " groups for ",
            rows, " rows");
  SAT_CHECK(options.confidence > 0 && options.confidence < 1, "confidence is ", options.confidence,
            ", it lies between 0 and 1");
  const Scorer scorer(probabilities, targets, thresholds);
  Values whole = scorer.scores(nullptr);
  append_means(whole, Values(whole), targets, scorer.top_accuracy(nullptr));

  const int64_t units =
      options.groups.empty() || rows == 0 ? rows : *std::max_element(options.groups.begin(), options.groups.end()) + 1;
  std::vector<Values> samples(static_cast<size_t>(options.samples));
  parallel_for(options.samples, 8, [&](int64_t first, int64_t last) {
    for (int64_t sample = first; sample < last; ++sample) {
      const std::vector<int32_t> counts = draw(options, rows, units, sample);
      Values values = scorer.scores(counts.data());
      append_means(values, whole, targets, targets.exclusive ? scorer.top_accuracy(counts.data()) : std::nullopt);
      samples[size_t(sample)] = std::move(values);
    }
  });

  Evaluation found;
  found.labels.resize(size_t(K));
  for (int64_t k = 0; k <= K; ++k) {
    LabelScores& scores = k < K ? found.labels[size_t(k)] : found.mean;
    if (k < K) {
      scores.threshold = thresholds[size_t(k)];
      scores.present = scorer.ranked(k).present();
      scores.absent = scorer.ranked(k).absent();
      scores.unknown = rows - scores.present - scores.absent;
    }
    for (int kind = 0; kind < kKinds; ++kind) {
      const auto at = size_t(k * kKinds + kind);
      score_of(scores, kind) = {whole[at], whole[at] ? interval_at(samples, at, options.confidence) : std::nullopt};
    }
  }
  return found;
}

std::optional<double> mean_auc(const Tensor& probabilities, const Targets& targets) {
  return mean_over_labels(probabilities, targets, [](const RankedRows& rows) { return rows.auc(); });
}

std::optional<double> mean_average_precision(const Tensor& probabilities, const Targets& targets) {
  return mean_over_labels(probabilities, targets, [](const RankedRows& rows) { return rows.average_precision(); });
}

}  // namespace sat
