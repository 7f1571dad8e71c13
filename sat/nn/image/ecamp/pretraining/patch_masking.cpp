// Sorting patches by their noise.
#include "sat/nn/image/ecamp/pretraining/patch_masking.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "sat/tensor/error.h"

namespace sat {

PatchMasks mask_patches(const std::vector<float>& noise, int64_t images, double ratio) {
  const auto count = int64_t(noise.size());
  SAT_CHECK(images > 0 && count > 0 && count % images == 0, "patch masking: ", count, " numbers for ", images,
            " images");
  SAT_CHECK(ratio >= 0 && ratio < 1, "patch masking: a ratio of ", ratio, ", needs 0 to below 1");
  SAT_CHECK(std::all_of(noise.begin(), noise.end(), [](float value) { return std::isfinite(value); }),
            "patch masking: a number is not finite, so patches cannot be sorted by it");
  PatchMasks masks;
  masks.images = images;
  masks.patches = count / images;
  masks.seen = int64_t(double(masks.patches) * (1 - ratio));
  SAT_CHECK(masks.seen > 0, "patch masking: a ratio of ", ratio, " keeps none of ", masks.patches, " patches");
  masks.restore.resize(noise.size());
  masks.removed.resize(noise.size(), 1);
  for (int64_t image = 0; image < images; ++image) {
    const int64_t first = image * masks.patches;
    std::vector<int64_t> order(size_t(masks.patches), 0);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return noise[size_t(first + a)] < noise[size_t(first + b)]; });
    masks.kept.insert(masks.kept.end(), order.begin(), order.begin() + masks.seen);
    for (int64_t place = 0; place < masks.patches; ++place) {
      masks.restore[size_t(first + order[size_t(place)])] = place;
      if (place < masks.seen) masks.removed[size_t(first + order[size_t(place)])] = 0;
    }
  }
  return masks;
}

}  // namespace sat
