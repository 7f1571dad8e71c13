// Label maps where masks overlap, and their legends: the claims of sat/io/masks/label_map.h.
#include "sat/io/masks/label_map.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "sat/tensor/context.h"

using namespace sat;

namespace {

void fill(BitMasks& masks, int64_t prompt, const VoxelBox& box) {
  for (int64_t h = box.start[0]; h < box.end[0]; ++h) {
    for (int64_t w = box.start[1]; w < box.end[1]; ++w) {
      for (int64_t d = box.start[2]; d < box.end[2]; ++d) masks.set(prompt, h, w, d);
    }
  }
}

int64_t label_at(const LabelMap& map, int64_t h, int64_t w, int64_t d) {
  const int64_t at = (h * map.labels.shape[1] + w) * map.labels.shape[2] + d;
  return map.labels.dtype == DType::u8 ? map.labels.data<uint8_t>()[at] : map.labels.data<int32_t>()[at];
}

}  // namespace

TEST_CASE("where masks overlap the smaller structure wins and nothing is summed") {
  BitMasks masks({6, 5, 7}, 3);
  fill(masks, 0, {{1, 1, 1}, {3, 3, 3}});  // 8 voxels inside
  fill(masks, 1, {{0, 0, 0}, {6, 5, 7}});  // everything
  fill(masks, 2, {{2, 2, 2}, {5, 5, 5}});  // 27 voxels, shares one with the first
  const LabelMap map = label_map(masks);
  CHECK(map.labels.dtype == DType::u8);
  CHECK(label_at(map, 2, 2, 2) == 1);  // all three meet here
  CHECK(label_at(map, 4, 4, 4) == 3);
  CHECK(label_at(map, 0, 0, 0) == 2);
  CHECK(map.mask_voxels == std::vector<int64_t>{8, 210, 27});
  CHECK(map.label_voxels == std::vector<int64_t>{8, 210 - 8 - 26, 26});
}

TEST_CASE("of two equally large masks the earlier prompt wins") {
  BitMasks masks({2, 2, 2}, 2);
  fill(masks, 0, {{0, 0, 0}, {1, 2, 2}});
  fill(masks, 1, {{0, 0, 0}, {2, 2, 1}});
  const LabelMap map = label_map(masks);
  CHECK(label_at(map, 0, 0, 0) == 1);
  CHECK(label_at(map, 1, 0, 0) == 2);
  CHECK(label_at(map, 1, 0, 1) == 0);
}

TEST_CASE("beyond 255 prompts labels need more than a byte and get it") {
  BitMasks masks({3, 10, 10}, 300);
  for (int64_t prompt = 0; prompt < 300; ++prompt) masks.set(prompt, prompt / 100, prompt / 10 % 10, prompt % 10);
  const LabelMap map = label_map(masks);
  CHECK(map.labels.dtype == DType::i32);
  CHECK(label_at(map, 2, 9, 9) == 300);
  CHECK(label_at(map, 2, 5, 6) == 257);
  CHECK(std::count(map.label_voxels.begin(), map.label_voxels.end(), 1) == 300);
}

TEST_CASE("the label map is the same for any number of threads") {
  Tensor first;
  for (int threads : {1, 3, 8}) {
    ContextOptions options;
    options.threads = threads;
    Context context(options);
    UseContext use(context);
    BitMasks masks({40, 9, 11}, 4);
    for (int64_t prompt = 0; prompt < 4; ++prompt) fill(masks, prompt, {{prompt, 1, 2}, {40 - 5 * prompt, 9, 11}});
    const LabelMap map = label_map(masks);
    if (first.empty()) first = map.labels.clone();
    CHECK(std::equal(first.data<uint8_t>(), first.data<uint8_t>() + first.numel(), map.labels.data<uint8_t>()));
  }
}

TEST_CASE("the ITK-SNAP legend has one line a label, and quotes cannot break it") {
  const std::string text = itk_snap_legend({"liver", "a \"b\"\nc"});
  CHECK(text.find("\n    0     0    0    0        0  0  0    \"Clear Label\"\n") != std::string::npos);
  CHECK(text.find("\n    1   239   83   80        1  1  1    \"liver\"\n") != std::string::npos);
  CHECK(text.find("\n    2    66  165  245        1  1  1    \"a 'b' c\"\n") != std::string::npos);
}

TEST_CASE("the JSON legend states the rule and how much of each mask is shown") {
  BitMasks masks({1, 1, 4}, 2);
  fill(masks, 0, {{0, 0, 0}, {1, 1, 4}});
  fill(masks, 1, {{0, 0, 3}, {1, 1, 4}});
  const Json legend = legend_json(label_map(masks), {"whole", "part"});
  CHECK(legend["priority"].string() == kLabelPriority);
  CHECK(legend["labels"][0]["value"].integer() == 1);
  CHECK(legend["labels"][0]["label_voxels"].integer() == 3);
  CHECK(legend["labels"][0]["mask_voxels"].integer() == 4);
  CHECK(legend["labels"][1]["name"].string() == "part");
  CHECK_THROWS_WITH_AS(legend_json(label_map(masks), {"one"}), doctest::Contains("1 names for 2 labels"), Error);
}

TEST_CASE("the first two hundred colours are distinct and none is close to black") {
  std::set<std::array<uint8_t, 3>> seen;
  for (int64_t i = 0; i < 200; ++i) {
    const auto colour = label_colour(i);
    CHECK(seen.insert(colour).second);
    CHECK(*std::max_element(colour.begin(), colour.end()) >= 160);
  }
}
