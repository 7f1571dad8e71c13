// The published processors of RAD-DINO and ECAMP, over resize.h.
#include "sat/io/images/prepare.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "sat/tensor/parallel.h"

namespace sat {

namespace {

using Fit = ImagePreparation::Fit;

void check_steps(const ImagePreparation& steps) {
  SAT_CHECK(steps.size >= 1 && steps.size <= kMaxImageSide, "prepare_image: an input of ", steps.size,
            " pixels a side, needs 1 to ", kMaxImageSide);
  SAT_CHECK(steps.fit == Fit::squeeze || (steps.shortest >= steps.size && steps.shortest <= kMaxImageSide),
            "prepare_image: the shorter side is resized to ", steps.shortest, " pixels, of which ", steps.size,
            " cannot be cut out");
  SAT_CHECK(std::isfinite(steps.mean) && std::isfinite(steps.deviation) && steps.deviation > 0, "prepare_image: mean ",
            steps.mean, " and deviation ", steps.deviation,
            " do not normalise anything; the deviation must be above 0");
}

/// The first row or column of the centre: half of what is left over, down or to the nearest even whole number.
int64_t centre_offset(int64_t side, int64_t size, Fit fit) {
  const int64_t half = (side - size) / 2;
  const bool up = fit == Fit::crop_rounded && (side - size) % 2 == 1 && half % 2 == 1;
  return up ? half + 1 : half;
}

Tensor normalised(const Image8& image, const ImagePreparation& steps) {
  std::array<float, 256> table;
  const auto mean = float(steps.mean), deviation = float(steps.deviation);
  for (size_t v = 0; v < table.size(); ++v) table[v] = (float(double(v) / 255) - mean) / deviation;
  const int64_t channels = image.channels();
  Tensor input({1, image.height(), image.width(), 3});
  const uint8_t* from = image.pixels.address<uint8_t>();
  float* to = input.address<float>();
  parallel_for(image.height() * image.width(), int64_t(1) << 14, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      for (int64_t c = 0; c < 3; ++c) to[3 * i + c] = table[from[channels * i + (channels == 3 ? c : 0)]];
    }
  });
  return input;
}

ImagePreparation ecamp(Fit fit, int64_t size, ResizeFilter filter, bool grey) {
  ImagePreparation steps;
  steps.fit = fit;
  steps.filter = filter;
  steps.shortest = steps.size = size;
  steps.grey = grey;
  steps.mean = 0.4722;
  steps.deviation = 0.3028;
  return steps;
}

}  // namespace

ImagePreparation rad_dino_input(int64_t size) {
  ImagePreparation steps;
  steps.shortest = steps.size = size;
  return steps;
}

ImagePreparation ecamp_classification_input() { return ecamp(Fit::crop_rounded, 224, ResizeFilter::bilinear, true); }

ImagePreparation ecamp_segmentation_input() { return ecamp(Fit::squeeze, 224, ResizeFilter::bilinear, false); }

ImagePreparation ecamp_detection_input() { return ecamp_segmentation_input(); }

ImagePreparation ecamp_pretraining_input() {
  ImagePreparation steps = ecamp(Fit::crop_rounded, 448, ResizeFilter::bicubic, true);
  steps.mean = 0.4721;
  steps.deviation = 0.3037;
  return steps;
}

PreparedImage prepare_image(const Image8& image, const ImagePreparation& steps) {
  check_steps(steps);
  PreparedImage prepared;
  ImagePlacement& placement = prepared.placement;
  placement.image = image.size();
  if (steps.fit == Fit::squeeze) {
    placement.resized = {steps.size, steps.size};
    placement.seen = {0, 0, steps.size, steps.size};
    prepared.pixels = resize_linear(image, placement.resized);
  } else {
    placement.resized = shortest_edge_size(image.size(), steps.shortest);
    placement.seen = {centre_offset(placement.resized.height, steps.size, steps.fit),
                      centre_offset(placement.resized.width, steps.size, steps.fit), steps.size, steps.size};
    prepared.pixels = resize_antialiased(image, placement.resized, steps.filter, placement.seen, steps.order);
  }
  if (steps.grey) prepared.pixels = to_grey(prepared.pixels);
  prepared.input = normalised(prepared.pixels, steps);
  return prepared;
}

}  // namespace sat
