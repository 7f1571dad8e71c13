// Private. What scores of single structures come to: by class, region and data set, and over all, so that every class
// counts the same however many cases it has (spec l.3), with intervals by the bootstrap. Knows names and numbers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sat/nn/evaluation/interval.h"

namespace sat {

/// A structure of a case, and as many scores as there are kinds; none where one is not defined.
struct ScoredStructure {
  std::string dataset, modality;  // together they say which data set a case counts in: "dataset(modality)"
  std::string unit;               // of the data set: what is drawn together, a patient or a case
  std::string structure, region;  // region: empty where it has none
  std::vector<std::optional<double>> scores;
};

struct MeanScore {
  std::optional<double> mean;  // over what has a score; none where nothing has
  std::optional<Interval> interval;
  int64_t counted = 0;  // what the mean is over: cases, data sets or classes
};

struct ScoredGroup {
  std::string name;
  int64_t units = 0, classes = 0;
  std::vector<MeanScore> scores;  // of each kind
};

/// A structure in a modality.
struct ScoredClass {
  std::string structure, modality, region;
  ScoredGroup all;                    // means over its data sets
  std::vector<ScoredGroup> datasets;  // means over their cases; counted by name
};

struct ScoreSummary {
  std::vector<ScoredClass> classes;   // by modality and name
  std::vector<ScoredGroup> regions;   // means over their classes, by name
  std::vector<ScoredGroup> datasets;  // means over their classes' means there
  ScoredGroup overall;                // means over all classes
};

struct SummaryOptions {
  int64_t samples = 1000;
  double confidence = 0.95;
  uint64_t seed = 0;
};

/// Samples draw as many units as a data set has, each data set by itself, and take all means again; a class that no
/// unit of a sample has is left out of that sample's means. Where no class below a mean has a score in two units there
/// is no interval. Results do not depend on the number of threads. Throws Error where a structure has another number of
/// scores than `kinds`.
ScoreSummary summarise(const std::vector<ScoredStructure>& structures, int64_t kinds,
                       const SummaryOptions& options = {});

}  // namespace sat
