// Spec k.4 as it was meant: which case, which crop, which structures.
#include "sat/nn/train/data/case_sampler.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "sat/nn/train/data/augment.h"
#include "sat/nn/train/data/crop_masks.h"
#include "sat/nn/train/data/random.h"
#include "sat/tensor/parallel.h"

namespace sat {

namespace {

constexpr int64_t kGrain = 1 << 16;  // bytes a piece

/// How often a case is entered: more often where one crop shows little of its structures.
double entries_of(const PreparedCase& one, const SamplerOptions& options) {
  double times = std::max(1.0, double(one.structures) / double(options.max_queries));
  if (!one.foreground.empty()) {
    for (size_t axis = 0; axis < 3; ++axis) {
      const auto along = double(one.foreground.end[axis] - one.foreground.start[axis]);
      times *= std::max(1.0, along / double(options.crop[axis]));
    }
  }
  return std::nearbyint(times);
}

/// A voxel to cut around, or none.
struct Aim {
  std::array<int64_t, 3> voxel{};
  bool found = false;
};

/// Differs: published code asks whether a list holds the literal True, which never holds, so it cuts anywhere. Here a
/// crop is drawn around a contoured voxel, as was meant; the union of all structures, which the published conversion
/// never writes, is a mask of the cached case.
Aim choose_aim(const CachedCase& cached, const SamplingSettings& settings, KeyedRandom& random) {
  if (random.uniform() >= settings.foreground_crop_prob || cached.foreground().voxels == 0) return {};
  const bool of_one_structure = random.uniform() < settings.label_based_crop_prob;
  std::vector<int64_t> there;
  const auto& structures = cached.structures();
  for (size_t i = 0; i < structures.size(); ++i) {
    if (structures[i].voxels > 0) there.push_back(int64_t(i));
  }
  const int64_t chosen = there[size_t(random.below(int64_t(there.size())))];
  const CachedStructure& structure = of_one_structure ? structures[size_t(chosen)] : cached.foreground();
  const BitMasks mask = of_one_structure ? cached.mask(chosen) : cached.foreground_mask();
  Aim aim{voxel_of_rank(mask, random.below(structure.voxels)), true};
  for (size_t axis = 0; axis < 3; ++axis) aim.voxel[axis] += structure.box.start[axis];
  return aim;
}

std::array<int64_t, 3> choose_start(const CachedCase& cached, const SamplerOptions& options,
                                    const SamplingSettings& settings, KeyedRandom random) {
  const Aim aim = choose_aim(cached, settings, random);
  const bool centred = random.uniform() >= settings.uncenter_prob;
  std::array<int64_t, 3> start{};
  for (size_t axis = 0; axis < 3; ++axis) {
    const int64_t crop = options.crop[axis], last = std::max<int64_t>(0, cached.size()[axis] - crop);
    int64_t low = 0, high = last;
    if (aim.found) {  // every start from low to high has the voxel inside
      low = std::clamp<int64_t>(aim.voxel[axis] - crop + 1, 0, last);
      high = std::clamp<int64_t>(aim.voxel[axis], 0, last);
      if (centred) low = high = std::clamp<int64_t>(aim.voxel[axis] - crop / 2, 0, last);
    }
    start[axis] = low + random.below(high - low + 1);
  }
  return start;
}

/// Structures and masks of a crop.
///
/// Differs: published code takes a structure for positive when its box touches the crop, and drops masks that are set
/// everywhere where it means to drop empty ones. Here a structure is positive when it has a voxel in the crop; one
/// whose box alone touches it is known to be absent there, and counts among the negatives. Structures that were not
/// contoured are in no cached case's list, so they are never asked for.
void choose_structures(TrainingSample& sample, const CachedCase& cached, const SamplerOptions& options,
                       const SamplingSettings& settings, KeyedRandom random) {
  const auto& structures = cached.structures();
  CropMasks masks(sample.start, options.crop, options.max_queries);
  std::vector<int64_t> near, rest, chosen;
  for (size_t i = 0; i < structures.size(); ++i) {
    const bool touching = structures[i].voxels > 0 && touches_crop(structures[i].box, sample.start, options.crop);
    (touching ? near : rest).push_back(int64_t(i));
  }
  const bool positives_first = random.uniform() < settings.pos_label_first_prob;
  if (positives_first) {
    for (int64_t structure : random.choose(near, int64_t(near.size()))) {
      if (int64_t(chosen.size()) == options.max_queries) break;  // what is left may be there: no negative
      const bool there = masks.add(cached, structure, int64_t(chosen.size()));
      (there ? chosen : rest).push_back(structure);
    }
  }
  if (chosen.empty()) {  // nothing is there, or all are alike: any structures
    std::vector<int64_t> all(structures.size());
    for (size_t i = 0; i < all.size(); ++i) all[i] = int64_t(i);
    for (int64_t structure : random.choose(all, options.max_queries)) {
      masks.add(cached, structure, int64_t(chosen.size()));
      chosen.push_back(structure);
    }
  } else {
    const auto positives = int64_t(chosen.size());
    const auto allowed = int64_t(settings.neg_label_ratio_threshold * double(positives));
    const std::vector<int64_t> negatives = random.choose(rest, std::min(options.max_queries - positives, allowed));
    chosen.insert(chosen.end(), negatives.begin(), negatives.end());
  }
  for (int64_t structure : chosen) sample.structures.push_back(structures[size_t(structure)].name);
  sample.masks = masks.finish(int64_t(chosen.size()));
}

/// Which bits are set in any voxel.
std::vector<uint8_t> bits_anywhere(const Tensor& masks) {
  const int64_t bytes = masks.shape[3], voxels = masks.numel() / bytes;
  const uint8_t* from = masks.data<uint8_t>();
  std::vector<std::vector<uint8_t>> found(size_t(divide_up(voxels, kGrain)), std::vector<uint8_t>(size_t(bytes), 0));
  parallel_for(voxels, kGrain, [&](int64_t first, int64_t last) {
    std::vector<uint8_t>& mine = found[size_t(first / kGrain)];
    for (int64_t v = first; v < last; ++v) {
      for (int64_t b = 0; b < bytes; ++b) mine[size_t(b)] = uint8_t(mine[size_t(b)] | from[v * bytes + b]);
    }
  });
  for (const std::vector<uint8_t>& piece : found) {
    for (size_t b = 0; b < piece.size(); ++b) found[0][b] = uint8_t(found[0][b] | piece[b]);
  }
  return found[0];
}

}  // namespace

CaseSampler::CaseSampler(CaseCache cache, std::vector<PreparedCase> cases, SamplingTable table, SamplerOptions options)
    : cache_(std::move(cache)), cases_(std::move(cases)), options_(options) {
  SAT_CHECK(!cases_.empty(), "there is no case to train on");
  SAT_CHECK(options_.max_queries >= 1 && options_.max_queries <= 4096, "a sample asks for ", options_.max_queries,
            " structures, needs 1 to 4096");
  for (int64_t along : options_.crop) {
    SAT_CHECK(along >= 1 && along <= 4096, "the crop has ", along, " voxels along an axis, needs 1 to 4096");
  }
  std::map<std::string, int64_t> cases_of;  // by data set
  for (const PreparedCase& one : cases_) ++cases_of[one.source.dataset];
  // Differs: published code draws from a shuffled list of 1e9 numbers, 8 GB; here by the weights themselves.
  double sum = 0;
  for (const PreparedCase& one : cases_) {
    settings_.push_back(table.of(one.source.dataset));
    const double share = settings_.back().sampling_weight / std::sqrt(double(cases_of[one.source.dataset]));
    up_to_.push_back(sum += share * entries_of(one, options_));
  }
}

std::vector<double> CaseSampler::probabilities() const {
  std::vector<double> shares;
  for (size_t i = 0; i < up_to_.size(); ++i) {
    shares.push_back((up_to_[i] - (i == 0 ? 0 : up_to_[i - 1])) / up_to_.back());
  }
  return shares;
}

int64_t CaseSampler::bytes_of_sample() const {
  const int64_t voxels = options_.crop[0] * options_.crop[1] * options_.crop[2];
  const int64_t copies = options_.augment ? 3 : 2;  // before and after, and sharpening's blurred one
  return voxels * (copies * int64_t(sizeof(float)) + 2 * divide_up(options_.max_queries, 8));
}

TrainingSample CaseSampler::sample(int64_t step, int64_t item) const {
  const auto random = [&](Purpose purpose) {
    return KeyedRandom(options_.seed, uint64_t(step), uint32_t(item), purpose);
  };
  const double drawn = random(Purpose::entry).uniform() * up_to_.back();
  const auto found = std::upper_bound(up_to_.begin(), up_to_.end() - 1, drawn);
  const auto place = size_t(found - up_to_.begin());
  const PreparedCase& one = cases_[place];
  const SamplingSettings& settings = settings_[place];

  const auto cut = [&](const CachedCase& cached) {
    TrainingSample sample;
    sample.case_id = one.source.id;
    sample.dataset = one.source.dataset;
    sample.modality = one.source.modality;
    sample.start = choose_start(cached, options_, settings, random(Purpose::crop));
    choose_structures(sample, cached, options_, settings, random(Purpose::structures));
    sample.image = cached.image(sample.start, options_.crop);
    return sample;
  };
  TrainingSample sample;
  const auto make = [&] {
    try {
      sample = cut(cache_.reopen(one.source));
    } catch (const MemoryError&) {
      throw;
    } catch (const Cancelled&) {
      throw;
    } catch (const Error&) {  // a part of the file is damaged
      sample = cut(cache_.remake(one.source));
    }
  };
  try_case(one.source.dataset, one.source.id, {}, make);
  if (options_.augment) {
    augment(sample.image, sample.masks, settings.augmentation, options_.seed, uint64_t(step), uint32_t(item));
  }
  // Zooming in may leave a structure outside: what counts is what the network sees.
  const std::vector<uint8_t> there = bits_anywhere(sample.masks);
  for (size_t n = 0; n < sample.structures.size(); ++n) {
    sample.kinds.push_back(there[n / 8] >> (n % 8) & 1 ? QueryKind::positive : QueryKind::negative);
    sample.weights.push_back(1);
  }
  return sample;
}

}  // namespace sat
