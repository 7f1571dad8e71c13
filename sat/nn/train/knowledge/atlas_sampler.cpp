// Labels, scans, crops, and the structures in them.
#include "sat/nn/train/knowledge/atlas_sampler.h"

#include <algorithm>
#include <set>
#include <utility>

#include "sat/nn/train/data/crop_masks.h"
#include "sat/nn/train/data/random.h"

namespace sat {

namespace {

std::vector<AnnotatedScan> scans_of(const CaseCache& cache, const std::vector<PreparedCase>& cases) {
  std::vector<AnnotatedScan> scans;
  for (const PreparedCase& one : cases) {
    AnnotatedScan scan{one.source.dataset, {}};
    const CachedCase cached = cache.reopen(one.source);
    for (const CachedStructure& structure : cached.structures()) {
      if (structure.voxels > 0) scan.labels.push_back(structure.name);
    }
    scans.push_back(std::move(scan));
  }
  return scans;
}

int64_t find_structure(const CachedCase& cached, const std::string& name) {
  const auto& all = cached.structures();
  const auto found = std::find_if(all.begin(), all.end(), [&](const CachedStructure& one) { return one.name == name; });
  SAT_CHECK(found != all.end() && found->voxels > 0, cached.path(), ": structure '", name,
            "' has no voxel, where it had some before");
  return found - all.begin();
}

/// Structures beside `chosen` that have a voxel in the crop.
std::vector<int64_t> others_in(const CachedCase& cached, int64_t chosen, const std::array<int64_t, 3>& start,
                               const std::array<int64_t, 3>& crop) {
  VoxelBox window{start, start};
  for (size_t axis = 0; axis < 3; ++axis) window.end[axis] += crop[axis];
  std::vector<int64_t> there;
  for (int64_t i = 0; i < int64_t(cached.structures().size()); ++i) {
    const CachedStructure& structure = cached.structures()[size_t(i)];
    if (i == chosen || structure.voxels == 0 || !boxes_meet(structure.box, window)) continue;
    if (CropMasks(start, crop, 1).add(cached, i, 0)) there.push_back(i);
  }
  return there;
}

}  // namespace

AtlasSampler::AtlasSampler(CaseCache cache, std::vector<PreparedCase> cases, const AtlasSamplerOptions& options)
    : cache_(std::move(cache)), cases_(std::move(cases)), pool_(scans_of(cache_, cases_)), options_(options) {
  SAT_CHECK(options_.others >= 0 && options_.others <= 4096, "a crop has ", options_.others,
            " other structures, needs 0 to 4096");
}

TrainingSample AtlasSampler::sample(int64_t step, int64_t item) const {
  KeyedRandom random(options_.seed, uint64_t(step), uint32_t(item), Purpose::volume);
  const LabelPool::Choice choice = pool_.draw([&] { return random.uniform(); });
  const PreparedCase& one = cases_[size_t(choice.scan)];
  const CachedCase cached = cache_.reopen(one.source);
  const int64_t chosen = find_structure(cached, choice.label);
  const CachedStructure& structure = cached.structures()[size_t(chosen)];

  std::array<int64_t, 3> voxel = voxel_of_rank(cached.mask(chosen), random.below(structure.voxels));
  for (size_t axis = 0; axis < 3; ++axis) voxel[axis] += structure.box.start[axis];
  TrainingSample sample;
  sample.start = crop_start(cached.size(), options_.crop, voxel);
  sample.case_id = one.source.id;
  sample.dataset = one.source.dataset;
  sample.modality = one.source.modality;
  sample.image = cached.image(sample.start, options_.crop);

  std::vector<int64_t> all{chosen};
  const std::vector<int64_t> others = others_in(cached, chosen, sample.start, options_.crop);
  const int64_t some = std::min(options_.others, int64_t(others.size()));
  for (int64_t i = 0; i < some; ++i) all.push_back(others[size_t(random.below(int64_t(others.size())))]);
  CropMasks masks(sample.start, options_.crop, int64_t(all.size()));
  for (size_t n = 0; n < all.size(); ++n) {
    masks.add(cached, all[n], int64_t(n));
    sample.structures.push_back(cached.structures()[size_t(all[n])].name);
    sample.kinds.push_back(QueryKind::positive);
    sample.weights.push_back(1);
  }
  sample.masks = masks.finish(int64_t(all.size()));
  return sample;
}

}  // namespace sat
