// Means of means: once for all cases, then for every sample of them.
#include "sat/nn/evaluation/segmentation/score_summary.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "sat/nn/evaluation/random_stream.h"
#include "sat/tensor/error.h"
#include "sat/tensor/parallel.h"

namespace sat {

namespace {

using Values = std::vector<std::optional<double>>;
using ClassName = std::pair<std::string, std::string>;  // modality, structure

/// What a mean is over: places of the values before it.
struct Mean {
  std::vector<size_t> of;
};

struct Case {
  size_t unit;  // over all data sets
  const ScoredStructure* scored;
};

/// All means in an order in which each needs only earlier ones: cells (a class in a data set), then classes, regions,
/// data sets, and over all.
class Means {
 public:
  Means(const std::vector<ScoredStructure>& structures, int64_t kinds) : kinds_(size_t(kinds)) {
    for (const ScoredStructure& one : structures) {
      SAT_CHECK(int64_t(one.scores.size()) == kinds, one.structure, " has ", one.scores.size(), " scores, needs ",
                kinds);
      const std::string dataset = one.dataset + "(" + one.modality + ")";
      units_[dataset].emplace(one.unit, 0);
      const ClassName name{one.modality, one.structure};
      cell_of_.emplace(std::pair(name, dataset), 0);
      regions_of_.emplace(name, one.region);
    }
    size_t unit = 0;
    for (auto& [dataset, units] : units_) {
      for (auto& [name, number] : units) number = unit++;
    }
    size_t cell = 0;
    for (auto& [name, number] : cell_of_) number = cell++;
    cells_.resize(cell);
    for (const ScoredStructure& one : structures) {
      const std::string dataset = one.dataset + "(" + one.modality + ")";
      cells_[cell_of_.at({{one.modality, one.structure}, dataset})].push_back({units_[dataset].at(one.unit), &one});
    }
    arrange();
  }

  size_t units() const {
    size_t count = 0;
    for (const auto& [dataset, units] : units_) count += units.size();
    return count;
  }

  /// [cells and means, kinds], each case counted as often as its unit.
  Values values(const int32_t* counts) const {
    Values values((cells_.size() + means_.size()) * kinds_);
    for (size_t kind = 0; kind < kinds_; ++kind) {
      for (size_t i = 0; i < cells_.size(); ++i) {
        double sum = 0;
        int64_t counted = 0;
        for (const Case& one : cells_[i]) {
          const int64_t times = counts ? counts[one.unit] : 1;
          if (!one.scored->scores[kind] || times == 0) continue;
          sum += double(times) * *one.scored->scores[kind];
          counted += times;
        }
        if (counted > 0) values[i * kinds_ + kind] = sum / double(counted);
      }
      for (size_t i = 0; i < means_.size(); ++i) {
        double sum = 0;
        int64_t counted = 0;
        for (const size_t of : means_[i].of) {
          const std::optional<double>& value = values[of * kinds_ + kind];
          sum += value.value_or(0);
          counted += value.has_value();
        }
        if (counted > 0) values[(cells_.size() + i) * kinds_ + kind] = sum / double(counted);
      }
    }
    return values;
  }

  std::vector<int32_t> draw(RandomStream random) const {
    std::vector<int32_t> counts(units(), 0);
    size_t first = 0;
    for (const auto& [dataset, of] : units_) {
      for (size_t i = 0; i < of.size(); ++i) ++counts[first + size_t(random.below(int64_t(of.size())))];
      first += of.size();
    }
    return counts;
  }

  ScoreSummary summary(const Values& whole, const std::vector<Values>& samples, double confidence) const {
    const auto scores = [&](size_t at, const auto& counted) {
      std::vector<MeanScore> all(kinds_);
      for (size_t kind = 0; kind < kinds_; ++kind) {
        MeanScore& score = all[kind];
        score.mean = whole[at * kinds_ + kind];
        score.counted = counted(kind);
        std::vector<double> found;
        for (const Values& sample : samples) {
          if (sample[at * kinds_ + kind]) found.push_back(*sample[at * kinds_ + kind]);
        }
        if (score.mean && varies(at, kind)) score.interval = interval_of(std::move(found), samples.size(), confidence);
      }
      return all;
    };
    const auto of_mean = [&](const std::string& name, size_t mean) {
      ScoredGroup group;
      group.name = name;
      group.classes = int64_t(means_[mean].of.size());
      group.scores = scores(cells_.size() + mean, [&](size_t kind) {
        return std::count_if(means_[mean].of.begin(), means_[mean].of.end(),
                             [&](size_t of) { return whole[of * kinds_ + kind].has_value(); });
      });
      return group;
    };
    ScoreSummary summary;
    size_t mean = 0;
    for (const auto& [name, region] : regions_of_) {
      ScoredClass one{name.second, name.first, region, of_mean(name.first + "_" + name.second, mean), {}};
      one.all.classes = 1;
      for (const size_t cell : means_[mean++].of) {
        ScoredGroup group;
        group.name = dataset_of_[cell];
        group.classes = 1;
        group.units = units_in({cell});
        group.scores = scores(cell, [&](size_t kind) {
          return std::count_if(cells_[cell].begin(), cells_[cell].end(),
                               [&](const Case& each) { return each.scored->scores[kind].has_value(); });
        });
        one.all.units += group.units;
        one.datasets.push_back(std::move(group));
      }
      summary.classes.push_back(std::move(one));
    }
    for (const std::string& region : region_names_) {
      summary.regions.push_back(of_mean(region, mean));
      summary.regions.back().units = units_in(cells_under(mean++));
    }
    for (const auto& [dataset, units] : units_) {
      summary.datasets.push_back(of_mean(dataset, mean++));
      summary.datasets.back().units = int64_t(units.size());
    }
    summary.overall = of_mean("all", mean);
    summary.overall.units = int64_t(this->units());
    return summary;
  }

 private:
  void arrange() {
    std::map<ClassName, Mean> classes;
    std::map<std::string, Mean> datasets, regions;
    dataset_of_.resize(cells_.size());
    for (const auto& [name, cell] : cell_of_) {
      classes[name.first].of.push_back(cell);
      datasets[name.second].of.push_back(cell);
      dataset_of_[cell] = name.second;
    }
    Mean overall;
    for (const auto& [name, mean] : classes) {
      const size_t place = cells_.size() + means_.size();
      overall.of.push_back(place);
      const std::string& region = regions_of_.at(name);
      if (!region.empty()) regions[region].of.push_back(place);
      means_.push_back(mean);
    }
    for (const auto& [region, mean] : regions) {
      region_names_.push_back(region);
      means_.push_back(mean);
    }
    for (const auto& [dataset, mean] : datasets) means_.push_back(mean);
    means_.push_back(overall);
  }

  /// Do samples tell anything of this value? Not where each class in a data set below it has a score in one unit alone.
  bool varies(size_t at, size_t kind) const {
    if (at >= cells_.size()) {
      const std::vector<size_t>& of = means_[at - cells_.size()].of;
      return std::any_of(of.begin(), of.end(), [&](size_t below) { return varies(below, kind); });
    }
    std::set<size_t> units;
    for (const Case& one : cells_[at]) {
      if (one.scored->scores[kind]) units.insert(one.unit);
    }
    return units.size() > 1;
  }

  /// The cells that the classes of a mean are means over.
  std::vector<size_t> cells_under(size_t mean) const {
    std::vector<size_t> cells;
    for (const size_t of : means_[mean].of) {
      const std::vector<size_t>& more = means_[of - cells_.size()].of;
      cells.insert(cells.end(), more.begin(), more.end());
    }
    return cells;
  }

  int64_t units_in(const std::vector<size_t>& cells) const {
    std::set<size_t> found;
    for (const size_t cell : cells) {
      for (const Case& one : cells_[cell]) found.insert(one.unit);
    }
    return int64_t(found.size());
  }

  size_t kinds_;
  std::map<std::string, std::map<std::string, size_t>> units_;  // of each data set; in this order they are numbered
  std::map<std::pair<ClassName, std::string>, size_t> cell_of_;
  std::map<ClassName, std::string> regions_of_;
  std::vector<std::vector<Case>> cells_;
  std::vector<std::string> dataset_of_;  // of each cell
  std::vector<Mean> means_;              // classes, regions, data sets, over all
  std::vector<std::string> region_names_;
};

}  // namespace

ScoreSummary summarise(const std::vector<ScoredStructure>& structures, int64_t kinds, const SummaryOptions& options) {
  SAT_CHECK(options.confidence > 0 && options.confidence < 1, "confidence is ", options.confidence,
            ", it lies between 0 and 1");
  const Means means(structures, kinds);
  std::vector<Values> samples(static_cast<size_t>(options.samples));
  parallel_for(options.samples, 8, [&](int64_t first, int64_t last) {
    for (int64_t sample = first; sample < last; ++sample) {
      const std::vector<int32_t> counts = means.draw(RandomStream(options.seed, uint64_t(sample)));
      samples[size_t(sample)] = means.values(counts.data());
    }
  });
  return means.summary(means.values(nullptr), samples, options.confidence);
}

}  // namespace sat
