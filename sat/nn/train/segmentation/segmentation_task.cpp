// Batches in order, and cases window by window.
#include "sat/nn/train/segmentation/segmentation_task.h"

#include <algorithm>
#include <map>
#include <utility>

#include "sat/io/files/hash.h"
#include "sat/nn/evaluation/segmentation/mask_scores.h"
#include "sat/nn/run/segment_volume.h"
#include "sat/nn/train/data/random.h"
#include "sat/tensor/parallel.h"
#include "sat/tensor/profile.h"

namespace sat {

namespace {

/// What agrees between scores that leave row by row and the masks of a case, structure by structure.
class Agreement {
 public:
  explicit Agreement(const CachedCase& one) : one_(one), overlaps_(one.structures().size()) {
    for (size_t n = 0; n < overlaps_.size(); ++n) {
      const CachedStructure& structure = one.structures()[n];
      overlaps_[n].truth = structure.voxels;
      masks_.push_back(structure.voxels > 0 ? one.mask(int64_t(n)) : BitMasks());
    }
  }

  /// scores [rows, W, D, n] of all planes from `first` on.
  void add(const Tensor& scores, int64_t origin, int64_t first, int64_t last, int64_t first_prompt) {
    const int64_t W = scores.shape[1], D = scores.shape[2], N = scores.shape[3];
    const float* values = scores.data<float>();
    std::vector<Overlap> planes(size_t((last - first) * N));
    parallel_for(last - first, 1, [&](int64_t row, int64_t) {
      const int64_t h = first + row;
      const float* score = values + (h - origin) * W * D * N;
      for (int64_t n = 0; n < N; ++n) {
        const auto structure = size_t(first_prompt + n);
        const VoxelBox& box = one_.structures()[structure].box;
        const BitMasks& mask = masks_[structure];
        Overlap& plane = planes[size_t(row * N + n)];
        for (int64_t w = 0; w < W; ++w) {
          for (int64_t d = 0; d < D; ++d) {
            if (score[(w * D + d) * N + n] <= 0) continue;
            ++plane.prediction;
            const bool in_box = h >= box.start[0] && h < box.end[0] && w >= box.start[1] && w < box.end[1] &&
                                d >= box.start[2] && d < box.end[2];
            if (in_box && mask.get(0, h - box.start[0], w - box.start[1], d - box.start[2])) ++plane.both;
          }
        }
      }
    });
    for (size_t i = 0; i < planes.size(); ++i) {
      Overlap& all = overlaps_[size_t(first_prompt) + i % size_t(N)];
      all.prediction += planes[i].prediction;
      all.both += planes[i].both;
    }
  }

  const std::vector<Overlap>& overlaps() const { return overlaps_; }

 private:
  const CachedCase& one_;
  std::vector<BitMasks> masks_;
  std::vector<Overlap> overlaps_;
};

std::vector<std::string> names_of(const CachedCase& one) {
  std::vector<std::string> names;
  for (const CachedStructure& structure : one.structures()) names.push_back(structure.name);
  return names;
}

}  // namespace

std::string hash_of(const std::vector<PreparedCase>& cases) {
  Sha256 hash;
  const auto add = [&](const std::string& text) {
    const std::string line = text + "\n";
    hash.update(line.data(), int64_t(line.size()));
  };
  for (const PreparedCase& one : cases) {
    add(one.source.dataset);
    add(one.source.id);
    add(one.source.modality);
    for (const StructureSource& structure : one.source.structures) add(structure.name);
    for (const int64_t size : one.size) add(std::to_string(size));
  }
  return hash.finish();
}

SegmentationTask::SegmentationTask(SegmentationStep step, const CaseSampler& sampler, const CaseCache& cache,
                                   std::vector<PreparedCase> validation, std::string data,
                                   const SegmentationTaskOptions& options)
    : step_(std::move(step)),
      sampler_(sampler),
      cache_(cache),
      validation_(std::move(validation)),
      data_(std::move(data)),
      options_(options) {}
SegmentationTask::~SegmentationTask() = default;

NamedTensors SegmentationTask::gradients(const BatchPlace& place, BatchReport& report) {
  const int64_t number = (place.step - 1) * options_.accumulation + place.part;
  if (!loader_ || loader_->step() != number) {
    loader_.reset();  // ends its threads
    LoaderOptions options;
    options.batch = options_.batch;
    options.first_step = number;
    options.last_step = std::min(options_.last_step, INT64_MAX / options_.accumulation) * options_.accumulation - 1;
    options.workers = options_.workers;
    options.ahead = 2 * options_.batch;
    loader_ = std::make_unique<SampleLoader>([this](int64_t step, int64_t item) { return sampler_.sample(step, item); },
                                             options);
  }
  profile::Stopwatch watch;
  std::vector<TrainingSample> samples = loader_->next();
  report.wait_seconds += watch.lap();
  int64_t most = 1;
  for (const TrainingSample& sample : samples) most = std::max(most, int64_t(sample.structures.size()));
  for (TrainingSample& sample : samples) fill_queries(sample, most);
  report.data_seconds += watch.lap();
  KeyedRandom random(options_.seed, uint64_t(place.step), uint32_t(place.part), Purpose::dropout);
  return step_.gradients(std::move(samples), random.next64(), report);
}

ValidationReport SegmentationTask::validate(const NamedTensors& parameters) {
  profile::Stopwatch watch;
  NamedTensors network = parameters;
  network.erase(kModalityTable);
  const SatModel model(Weights::from_tensors(network, "the parameters"), step_.config());
  std::map<std::string, std::pair<double, int64_t>> by_structure;  // sum of Dice, cases
  for (const PreparedCase& prepared : validation_) {
    const CachedCase one = cache_.reopen(prepared.source);
    const Tensor queries = step_.queries().of(names_of(one), prepared.source.modality, parameters);
    Agreement agreement(one);
    segment_volume(model, one.image({0, 0, 0}, one.size()), step_.config().modality(prepared.source.modality), queries,
                   BlendPlan(),
                   [&](const Tensor& scores, const std::array<int64_t, 3>& origin, int64_t first, int64_t last,
                       int64_t first_prompt) { agreement.add(scores, origin[0], first, last, first_prompt); });
    for (size_t n = 0; n < agreement.overlaps().size(); ++n) {
      const Overlap& overlap = agreement.overlaps()[n];
      if (overlap.truth == 0) continue;
      auto& [sum, cases] = by_structure[one.structures()[n].name];
      sum += overlap.dice();
      ++cases;
    }
  }
  ValidationReport report;
  Json dice = Json::object();
  for (const auto& [name, one] : by_structure) {
    dice.set(name, one.first / double(one.second));
    report.score += one.first / double(one.second) / double(by_structure.size());
  }
  report.details = Json::object({{"dice", std::move(dice)}, {"cases", int64_t(validation_.size())}});
  report.details.set("seconds", watch.lap());
  return report;
}

}  // namespace sat
