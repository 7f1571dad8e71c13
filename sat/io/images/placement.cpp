// Maps of a model's input, put back on the image that it was made from.
#include "sat/io/images/placement.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "sat/tensor/parallel.h"

namespace sat {

namespace {

struct Range {
  int64_t first = 0, count = 0;
};

/// Pixels of one axis whose centres, at the model's scale, lie in [start, start + length).
Range seen_range(int64_t image, int64_t resized, int64_t start, int64_t length) {
  // (2 y + 1) resized / (2 image) >= edge
  const auto first_from = [&](int64_t edge) {
    const int64_t twice = 2 * edge * image - resized;
    return std::clamp<int64_t>(twice <= 0 ? 0 : divide_up(twice, 2 * resized), 0, image);
  };
  const int64_t first = first_from(start);
  return {first, first_from(start + length) - first};
}

/// Where the seen pixels of one axis lie in a map of `cells` cells, in cells from its border.
std::vector<double> positions(Range seen, int64_t image, int64_t resized, int64_t start, int64_t length,
                              int64_t cells) {
  std::vector<double> at(static_cast<size_t>(seen.count));
  for (int64_t i = 0; i < seen.count; ++i) {
    const double centre = (double(seen.first + i) + 0.5) * double(resized) / double(image);
    at[size_t(i)] = (centre - double(start)) / double(length) * double(cells);
  }
  return at;
}

struct Axes {
  Range rows, columns;
  std::vector<double> down, across;  // positions in the map
};

Axes axes_of(const ImagePlacement& p, int64_t height, int64_t width) {
  Axes axes;
  axes.rows = seen_range(p.image.height, p.resized.height, p.seen.top, p.seen.height);
  axes.columns = seen_range(p.image.width, p.resized.width, p.seen.left, p.seen.width);
  axes.down = positions(axes.rows, p.image.height, p.resized.height, p.seen.top, p.seen.height, height);
  axes.across = positions(axes.columns, p.image.width, p.resized.width, p.seen.left, p.seen.width, width);
  return axes;
}

/// Two cells of one axis and the share of the second.
struct Between {
  int64_t low, high;
  float share;
};

std::vector<Between> between_centres(const std::vector<double>& positions, int64_t cells) {
  std::vector<Between> all;
  for (const double position : positions) {
    const double at = std::clamp(position - 0.5, 0.0, double(cells - 1));
    const int64_t low = int64_t(at);
    all.push_back({low, std::min(low + 1, cells - 1), float(at - double(low))});
  }
  return all;
}

int64_t cell_at(double position, int64_t cells) { return std::clamp<int64_t>(int64_t(position), 0, cells - 1); }

void check_placement(const ImagePlacement& p) {
  check_image_size(p.image, "placement");
  SAT_CHECK(p.seen.top >= 0 && p.seen.left >= 0 && p.seen.height >= 1 && p.seen.width >= 1 &&
                p.seen.height <= p.resized.height - p.seen.top && p.seen.width <= p.resized.width - p.seen.left,
            "placement: ", p.seen.height, " x ", p.seen.width, " pixels from row ", p.seen.top, " and column ",
            p.seen.left, " on do not lie in an image of ", p.resized);
}

}  // namespace

PixelBox seen_pixels(const ImagePlacement& p) {
  check_placement(p);
  const Range rows = seen_range(p.image.height, p.resized.height, p.seen.top, p.seen.height);
  const Range columns = seen_range(p.image.width, p.resized.width, p.seen.left, p.seen.width);
  return {rows.first, columns.first, rows.count, columns.count};
}

Tensor scores_on_image(const Tensor& scores, const ImagePlacement& p, float unseen) {
  check_placement(p);
  const int rank = scores.shape.rank();
  SAT_CHECK(scores.dtype == DType::f32 && (rank == 2 || rank == 3) && scores.numel() > 0,
            "scores_on_image: scores are ", scores.dtype, " ", scores.shape, ", needs f32 [h, w] or [h, w, classes]");
  const int64_t height = scores.shape[0], width = scores.shape[1], classes = rank == 3 ? scores.shape[2] : 1;
  const Axes axes = axes_of(p, height, width);
  const std::vector<Between> down = between_centres(axes.down, height), across = between_centres(axes.across, width);
  Tensor out(rank == 3 ? Shape{p.image.height, p.image.width, classes} : Shape{p.image.height, p.image.width});
  const float* from = scores.address<float>();
  float* to = out.address<float>();
  const int64_t out_row = p.image.width * classes;
  parallel_for(p.image.height, 16, [&](int64_t first, int64_t last) {
    std::fill(to + first * out_row, to + last * out_row, unseen);
    const int64_t begin = std::max(first, axes.rows.first);
    const int64_t end = std::min(last, axes.rows.first + axes.rows.count);
    for (int64_t y = begin; y < end; ++y) {
      const Between& row = down[size_t(y - axes.rows.first)];
      const float* above = from + row.low * width * classes;
      const float* below = from + row.high * width * classes;
      float* target = to + y * out_row + axes.columns.first * classes;
      for (const Between& column : across) {
        for (int64_t c = 0; c < classes; ++c) {
          const int64_t left = column.low * classes + c, right = column.high * classes + c;
          const float upper = above[left] + column.share * (above[right] - above[left]);
          const float lower = below[left] + column.share * (below[right] - below[left]);
          *target++ = upper + row.share * (lower - upper);
        }
      }
    }
  });
  return out;
}

Tensor mask_on_image(const Tensor& mask, const ImagePlacement& p, uint8_t unseen) {
  check_placement(p);
  SAT_CHECK(mask.dtype == DType::u8 && mask.shape.rank() == 2 && mask.numel() > 0, "mask_on_image: the mask is ",
            mask.dtype, " ", mask.shape, ", needs u8 [h, w]");
  const int64_t height = mask.shape[0], width = mask.shape[1];
  const Axes axes = axes_of(p, height, width);
  Tensor out({p.image.height, p.image.width}, DType::u8);
  const uint8_t* from = mask.address<uint8_t>();
  uint8_t* to = out.address<uint8_t>();
  parallel_for(p.image.height, 16, [&](int64_t first, int64_t last) {
    std::fill(to + first * p.image.width, to + last * p.image.width, unseen);
    const int64_t begin = std::max(first, axes.rows.first);
    const int64_t end = std::min(last, axes.rows.first + axes.rows.count);
    for (int64_t y = begin; y < end; ++y) {
      const uint8_t* row = from + cell_at(axes.down[size_t(y - axes.rows.first)], height) * width;
      uint8_t* target = to + y * p.image.width + axes.columns.first;
      for (const double position : axes.across) *target++ = row[cell_at(position, width)];
    }
  });
  return out;
}

std::array<double, 4> box_on_image(const std::array<double, 4>& box, const ImagePlacement& p) {
  check_placement(p);
  const auto along = [](double at, int64_t start, int64_t image, int64_t resized) {
    return std::clamp((at + double(start)) * double(image) / double(resized), 0.0, double(image));
  };
  return {along(box[0], p.seen.left, p.image.width, p.resized.width),
          along(box[1], p.seen.top, p.image.height, p.resized.height),
          along(box[2], p.seen.left, p.image.width, p.resized.width),
          along(box[3], p.seen.top, p.image.height, p.resized.height)};
}

}  // namespace sat
