// Samples by spec k.4: how often cases come, where crops lie, which structures are asked for, and that a sample is a
// function of seed, step and place alone.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <map>
#include <set>

#include "sat/io/datasets/label_folder.h"
#include "sat/io/files/file.h"
#include "sat/io/nifti/nifti.h"
#include "sat/nn/train/data/case_sampler.h"
#include "tests/support/datasets/phantom.h"
#include "tests/support/golden.h"

using namespace sat;
using namespace sat::test;

namespace {

/// A data set of phantoms on disk, with a cache.
struct TinyData {
  TempDir folder;
  std::vector<PreparedCase> cases;

  explicit TinyData(const std::vector<std::string>& ids, const std::string& labels = phantom_labels()) {
    for (const std::string& id : ids) write_phantom(folder.path(), id, phantom());
    read(labels);
  }
  void read(const std::string& labels) {
    write_text(folder / "labels.json", labels);
    cases = prepare_cases(cache(), read_label_folder(folder.path()).train, {});
  }
  CaseCache cache() const { return CaseCache(folder / "cache"); }
  CaseSampler sampler(SamplerOptions options, const std::string& settings = "{}") const {
    return CaseSampler(cache(), cases, SamplingTable(Json::parse(settings, "s"), "s"), options);
  }
};

SamplerOptions small_crops(bool augment = false) {
  SamplerOptions options;
  options.crop = {12, 10, 6};
  options.seed = 5;
  options.augment = augment;
  return options;
}

bool bit(const TrainingSample& sample, int64_t voxel, size_t n) {
  return sample.masks.data<uint8_t>()[voxel * sample.masks.shape[3] + int64_t(n / 8)] >> (n % 8) & 1;
}

bool any_bit(const TrainingSample& sample, size_t n) {
  for (int64_t v = 0; v < sample.image.numel(); ++v) {
    if (bit(sample, v, n)) return true;
  }
  return false;
}

bool same_bytes(const Tensor& a, const Tensor& b) {
  return a.shape == b.shape && std::memcmp(a.raw(), b.raw(), size_t(a.bytes())) == 0;
}

}  // namespace

TEST_CASE("a sample is a function of seed, step and place") {
  const TinyData data({"a", "b", "c"});
  const CaseSampler sampler = data.sampler(small_crops(true)), again = data.sampler(small_crops(true));
  std::set<std::string> cases;
  for (int64_t step = 0; step < 12; ++step) {
    const TrainingSample one = sampler.sample(step, 0), same = again.sample(step, 0);
    CHECK(one.case_id == same.case_id);
    CHECK(one.structures == same.structures);
    CHECK(one.start == same.start);
    CHECK(same_bytes(one.image, same.image));
    CHECK(same_bytes(one.masks, same.masks));
    cases.insert(one.case_id);
  }
  CHECK(cases.size() == 3);
  SamplerOptions other = small_crops(true);
  other.seed = 6;
  const TrainingSample first = sampler.sample(1, 0);
  CHECK_FALSE(same_bytes(first.image, sampler.sample(1, 1).image));
  CHECK_FALSE(same_bytes(first.image, data.sampler(other).sample(1, 0).image));
}

TEST_CASE("image and masks of a sample are those of the case at its place") {
  const TinyData data({"a"});
  const CaseSampler sampler = data.sampler(small_crops());
  const CachedCase cached = data.cache().reopen(data.cases[0].source);
  for (int64_t step = 0; step < 10; ++step) {
    const TrainingSample sample = sampler.sample(step, 0);
    CHECK(same_bytes(sample.image, cached.image(sample.start, {12, 10, 6})));
    REQUIRE(sample.masks.shape == Shape({12, 10, 6, 1}));
    for (size_t n = 0; n < sample.structures.size(); ++n) {
      size_t which = 0;
      while (cached.structures()[which].name != sample.structures[n]) ++which;
      const VoxelBox& box = cached.structures()[which].box;
      const BitMasks mask = cached.mask(int64_t(which));
      int64_t wrong = 0, set = 0;
      for (int64_t v = 0; v < 12 * 10 * 6; ++v) {
        const std::array<int64_t, 3> at{v / 60 + sample.start[0] - box.start[0],
                                        v / 6 % 10 + sample.start[1] - box.start[1],
                                        v % 6 + sample.start[2] - box.start[2]};
        bool in = true;
        for (size_t axis = 0; axis < 3; ++axis) in = in && at[axis] >= 0 && at[axis] < mask.size[axis];
        in = in && mask.get(0, at[0], at[1], at[2]);
        set += in;
        wrong += in != bit(sample, v, n);
      }
      CHECK(wrong == 0);
      CHECK((sample.kinds[n] == QueryKind::positive) == (set > 0));
      CHECK(sample.weights[n] == 1);
    }
  }
}

TEST_CASE("crops hold a contoured voxel, in their middle where the volume lets them") {
  const TinyData data({"a"});
  const auto& size = data.cases[0].size;
  for (const char* settings : {R"({"*": {"label_based_crop_prob": 1}})", R"({"*": {"label_based_crop_prob": 0}})",
                               R"({"*": {"uncenter_prob": 1}})"}) {
    CAPTURE(settings);
    const CaseSampler sampler = data.sampler(small_crops(), settings);
    std::set<int64_t> starts;
    int small = 0;
    for (int64_t step = 0; step < 40; ++step) {
      const TrainingSample sample = sampler.sample(step, 0);
      bool any = false;
      for (size_t n = 0; n < sample.structures.size(); ++n) {
        any = any || sample.kinds[n] == QueryKind::positive;
        small += sample.structures[n] == "small ball" && sample.kinds[n] == QueryKind::positive;
      }
      CHECK(any);
      for (size_t axis = 0; axis < 3; ++axis) {
        CHECK(sample.start[axis] >= 0);
        CHECK(sample.start[axis] + small_crops().crop[axis] <= size[axis]);
      }
      starts.insert(sample.start[0]);
    }
    CHECK(starts.size() > 8);
    CHECK(small >= 4);
  }
}

TEST_CASE("label-based crops give a small structure its share, voxel-based ones by its volume") {
  const TinyData data({"a"}, R"({"dataset": "balls", "modality": "ct", "image": "*_ct.nii.gz",
    "label_map": "*_label.nii.gz", "labels": {"ball": 1, "small ball": 2}})");
  const auto centred_on_small = [&](const char* settings) {
    SamplerOptions options = small_crops();
    options.crop = {1, 1, 1};
    const CaseSampler sampler = data.sampler(options, settings);
    int hits = 0;
    for (int64_t step = 0; step < 300; ++step) {
      const TrainingSample sample = sampler.sample(step, 0);
      REQUIRE(!sample.structures.empty());
      hits += sample.structures[0] == "small ball" && sample.kinds[0] == QueryKind::positive;
    }
    return hits / 300.0;
  };
  CHECK(centred_on_small(R"({"*": {"label_based_crop_prob": 1}})") == doctest::Approx(0.5).epsilon(0.25));
  CHECK(centred_on_small(R"({"*": {"label_based_crop_prob": 0}})") == doctest::Approx(216.0 / 945).epsilon(0.3));
}

TEST_CASE("without foreground crops they lie anywhere, and a sample without positives asks for what is not there") {
  const TinyData data({"a"});
  SamplerOptions options = small_crops();
  options.crop = {4, 4, 2};
  const CaseSampler sampler = data.sampler(options, R"({"*": {"foreground_crop_prob": 0}})");
  int without = 0;
  for (int64_t step = 0; step < 60; ++step) {
    const TrainingSample sample = sampler.sample(step, 0);
    bool any = false;
    for (size_t n = 0; n < sample.structures.size(); ++n) any = any || sample.kinds[n] == QueryKind::positive;
    if (any) continue;
    ++without;
    CHECK(sample.structures.size() == 3);
    CHECK(sample.weights == std::vector<float>{1, 1, 1});
  }
  CHECK(without > 20);
}

TEST_CASE("negatives are at most the stated share of the positives, and never a structure that is there") {
  std::string labels;
  for (int i = 0; i < 6; ++i) labels += ", \"p" + std::to_string(i) + "\": 1";
  for (int i = 0; i < 6; ++i) labels += ", \"n" + std::to_string(i) + "\": " + std::to_string(20 + i);
  const TinyData data({"a"}, R"({"dataset": "balls", "modality": "ct", "image": "*_ct.nii.gz", "empty": "absent",
    "label_map": "*_label.nii.gz", "labels": {"small": 2)" +
                                 labels + "}}");
  const auto counts = [&](int64_t most, const char* settings, int64_t step) {
    SamplerOptions options = small_crops();
    options.max_queries = most;
    const TrainingSample sample = data.sampler(options, settings).sample(step, 0);
    int64_t positives = 0, negatives = 0;
    std::set<std::string> names;
    for (size_t n = 0; n < sample.structures.size(); ++n) {
      CHECK(names.insert(sample.structures[n]).second);
      const bool there = any_bit(sample, n);
      CHECK(there == (sample.kinds[n] == QueryKind::positive));
      (there ? positives : negatives) += 1;
      if (sample.structures[n][0] == 'n') CHECK_FALSE(there);
    }
    CHECK(positives + negatives <= most);
    return std::pair(positives, negatives);
  };
  const char* around_ball = R"({"*": {"label_based_crop_prob": 0.9}})";
  int seen = 0;
  for (int64_t step = 0; step < 20; ++step) {
    const auto [positives, negatives] = counts(32, around_ball, step);
    if (positives < 6) continue;
    ++seen;
    CHECK(negatives == positives / 2);
    CHECK(counts(4, around_ball, step).first == 4);
    CHECK(counts(4, around_ball, step).second == 0);
  }
  CHECK(seen > 5);
  const auto [all, none] = counts(32, R"({"*": {"neg_label_ratio_threshold": 0}})", 3);
  CHECK(all > 0);
  CHECK(none == 0);
  int alike = 0;
  for (int64_t step = 0; step < 20; ++step) {
    alike += int(counts(4, R"({"*": {"pos_label_first_prob": 0}})", step).second);
  }
  CHECK(alike > 10);
}

TEST_CASE("a structure that was not contoured is never asked for") {
  TinyData data({"a", "b"}, phantom_labels(R"("cases": {"a": {"unlabelled": ["small ball", "both"]}},)"));
  const CaseSampler sampler = data.sampler(small_crops());
  std::map<std::string, std::set<std::string>> asked;
  for (int64_t step = 0; step < 60; ++step) {
    const TrainingSample sample = sampler.sample(step, 0);
    asked[sample.case_id].insert(sample.structures.begin(), sample.structures.end());
  }
  CHECK(asked["a"] == std::set<std::string>{"ball"});
  CHECK(asked["b"].size() == 3);
}

TEST_CASE("cases are drawn by their data set's weight, its size, and how many crops their structures fill") {
  TinyData data({"a", "b", "c", "d"});
  for (size_t i = 0; i < 4; ++i) data.cases[i].foreground = {{0, 0, 0}, {12, 10, 6}};
  data.cases[3].source.dataset = "DAP_Atlas";
  data.cases[1].foreground.end[0] = 12 * 2 + 3;  // fills 2.25 crops: entered twice
  data.cases[2].structures = 100;                // of 32 asked for at once: entered three times
  const std::vector<double> got = data.sampler(small_crops()).probabilities();
  const double one = 1 / std::sqrt(3.0), sum = one * (1 + 2 + 3) + 3;
  CHECK(got[0] == doctest::Approx(one / sum));
  CHECK(got[1] == doctest::Approx(2 * one / sum));
  CHECK(got[2] == doctest::Approx(3 * one / sum));
  CHECK(got[3] == doctest::Approx(3 / sum));
  const CaseSampler sampler = data.sampler(small_crops());
  std::map<std::string, int> drawn;
  for (int64_t step = 0; step < 400; ++step) ++drawn[sampler.sample(step, 0).case_id];
  CHECK(drawn["d"] / 400.0 == doctest::Approx(got[3]).epsilon(0.2));
  CHECK(drawn["a"] / 400.0 == doctest::Approx(got[0]).epsilon(0.5));
}

TEST_CASE("a case smaller than the crop is padded behind with zeros") {
  const TinyData data({"a"});
  SamplerOptions options = small_crops();
  options.crop = {64, 48, 24};
  const TrainingSample sample = data.sampler(options).sample(0, 0);
  CHECK(sample.start == std::array<int64_t, 3>{0, 0, 0});
  CHECK(sample.image.shape == Shape({64, 48, 24}));
  const float* last = sample.image.data<float>() + sample.image.numel() - 1;
  CHECK(*last == 0);
  CHECK(sample.structures.size() == 3);
}

TEST_CASE("a cache file that is damaged during a run is made again, and a case that is gone is named") {
  const TinyData data({"a"});
  const CaseSampler sampler = data.sampler(small_crops());
  const TrainingSample before = sampler.sample(4, 0);
  const std::string path = data.cache().path_of(data.cases[0].source);
  std::string bytes = read_file(path, 1 << 24);
  for (size_t at = 100; at + 100 < bytes.size(); at += 97) bytes[at] ^= 1;
  write_file_atomically(path, bytes);
  CHECK(same_bytes(sampler.sample(4, 0).image, before.image));
  write_file_atomically(path, "x");
  write_file_atomically(data.folder / "a_ct.nii.gz", "x");
  CHECK_THROWS_WITH_AS(sampler.sample(4, 0), doctest::Contains("case a of balls: "), Error);
}

TEST_CASE("coarser masks take the voxel floor(i n / m), and fillers make samples equally long") {
  const TinyData data({"a"});
  TrainingSample sample = data.sampler(small_crops()).sample(0, 0);
  const Tensor coarse = resized_masks(sample.masks, {6, 3, 4});
  REQUIRE(coarse.shape == Shape({6, 3, 4, 1}));
  for (int64_t h = 0; h < 6; ++h) {
    for (int64_t w = 0; w < 3; ++w) {
      for (int64_t d = 0; d < 4; ++d) {
        const int64_t at = ((h * 12 / 6) * 10 + w * 10 / 3) * 6 + d * 6 / 4;
        CHECK(coarse.data<uint8_t>()[(h * 3 + w) * 4 + d] == sample.masks.data<uint8_t>()[at]);
      }
    }
  }
  const Tensor masks = sample.masks.clone();
  const size_t before = sample.structures.size();
  fill_queries(sample, 11);
  CHECK(sample.structures.back() == "none");
  CHECK(sample.kinds[before] == QueryKind::filler);
  CHECK(sample.weights[10] == 0);
  REQUIRE(sample.masks.shape == Shape({12, 10, 6, 2}));
  for (int64_t v = 0; v < masks.numel(); ++v) {
    CHECK(sample.masks.data<uint8_t>()[2 * v] == masks.data<uint8_t>()[v]);
    CHECK(sample.masks.data<uint8_t>()[2 * v + 1] == 0);
  }
  CHECK_THROWS_AS(fill_queries(sample, 3), Error);
}
