// The nearest voxel of the scan for every voxel of the model's space, asked only around a mask.
#include "sat/io/masks/resample_masks.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "sat/tensor/error.h"
#include "sat/tensor/parallel.h"

namespace sat {

namespace {

using Crop = std::array<std::array<int64_t, 2>, 3>;

/// Half to even, as nearbyint() does it, without a call. |x| is below 2^31 here.
double round_half_even(double x) {
  constexpr double kWholeOnly = 0x1.8p52;
  return (x + kWholeOnly) - kWholeOnly;
}

/// How a scan's grid becomes the spaced one.
struct Way {
  AxisOrder order;
  Geometry turned;
  SpacedGrid spaced;
};

Way way_of(const Geometry& scan, const PreprocessOptions& options) {
  Way way;
  way.order = axis_order(scan.voxel_to_world_mm, options.orientation);
  way.turned = reorient(scan, way.order);
  way.spaced = space_grid(way.turned, options.spacing_mm);
  return way;
}

/// The voxels of the spaced grid, within the crop, that may have their nearest voxel in a box of the scan.
VoxelBox reach_of(const VoxelBox& box, const Way& way, const Geometry& scan, const Crop& crop) {
  const Affine scan_to_spaced = way.spaced.from_source * source_to_turned(scan.size, way.order);
  std::array<double, 3> least, most;
  least.fill(std::numeric_limits<double>::infinity());
  most.fill(-least[0]);
  for (int corner = 0; corner < 8; ++corner) {
    std::array<double, 3> index;
    for (size_t axis = 0; axis < 3; ++axis) {  // to the border of its voxels; at the end of the scan as far as any
      const bool upper = corner >> axis & 1;
      const bool clamped = upper ? box.end[axis] == scan.size[axis] : box.start[axis] == 0;
      const double margin = clamped ? double(scan.size[axis]) : 0.5;
      index[axis] = upper ? double(box.end[axis] - 1) + margin : double(box.start[axis]) - margin;
    }
    const std::array<double, 3> there = sat::apply(scan_to_spaced, index);
    for (size_t axis = 0; axis < 3; ++axis) {
      least[axis] = std::min(least[axis], there[axis]);
      most[axis] = std::max(most[axis], there[axis]);
    }
  }
  VoxelBox reach;
  for (size_t axis = 0; axis < 3; ++axis) {
    const auto low = double(crop[axis][0]), high = double(crop[axis][1]);
    reach.start[axis] = int64_t(std::clamp(std::floor(least[axis]) - 1, low, high));
    reach.end[axis] = int64_t(std::clamp(std::ceil(most[axis]) + 2, low, high));
  }
  return reach;
}

void resample_mask(BitMasks& out, const BitMasks& masks, int64_t prompt, const Way& way, const VoxelBox& reach,
                   const Crop& crop) {
  const auto& x = way.spaced.to_source.m;
  parallel_for(reach.end[0] - reach.start[0], 1, [&](int64_t plane, int64_t) {
    const int64_t h = reach.start[0] + plane;
    for (int64_t w = reach.start[1]; w < reach.end[1]; ++w) {
      std::array<double, 3> start;
      for (size_t axis = 0; axis < 3; ++axis) start[axis] = x[axis][0] * double(h) + x[axis][1] * double(w);
      for (int64_t d = reach.start[2]; d < reach.end[2]; ++d) {
        std::array<int64_t, 3> source;
        for (size_t axis = 0; axis < 3; ++axis) {
          const auto last = double(way.turned.size[axis] - 1);
          const double position = std::clamp(start[axis] + x[axis][2] * double(d) + x[axis][3], 0.0, last);
          const auto nearest = int64_t(round_half_even(position));
          const auto from = size_t(way.order.from[axis]);
          source[from] = way.order.reversed[axis] ? masks.size[from] - 1 - nearest : nearest;
        }
        if (masks.get(prompt, source[0], source[1], source[2])) {
          out.set(prompt, h - crop[0][0], w - crop[1][0], d - crop[2][0]);
        }
      }
    }
  });
}

BitMasks resample_along(const BitMasks& masks, const Geometry& scan, const Way& way, const Crop& crop) {
  SAT_CHECK(masks.size == scan.size, "resample_masks: masks of ", masks.size[0], " x ", masks.size[1], " x ",
            masks.size[2], " voxels for a scan of ", scan.size[0], " x ", scan.size[1], " x ", scan.size[2]);
  std::array<int64_t, 3> size;
  for (size_t axis = 0; axis < 3; ++axis) {
    size[axis] = crop[axis][1] - crop[axis][0];
    SAT_CHECK(crop[axis][0] >= 0 && size[axis] > 0 && crop[axis][1] <= way.spaced.geometry.size[axis],
              "resample_masks: a crop from ", crop[axis][0], " to ", crop[axis][1], " of ",
              way.spaced.geometry.size[axis], " voxels along axis ", axis);
  }
  BitMasks out(size, masks.prompts);
  for (int64_t prompt = 0; prompt < masks.prompts; ++prompt) {
    const VoxelBox box = masks.bounding_box(prompt);
    if (!box.empty()) resample_mask(out, masks, prompt, way, reach_of(box, way, scan, crop), crop);
  }
  return out;
}

}  // namespace

BitMasks resample_masks(const BitMasks& masks, const Geometry& scan, const PreprocessOptions& options,
                        const std::array<std::array<int64_t, 2>, 3>& crop) {
  return resample_along(masks, scan, way_of(scan, options), crop);
}

BitMasks resample_masks(const BitMasks& masks, const Geometry& scan, const PreprocessOptions& options) {
  const Way way = way_of(scan, options);
  Crop whole;
  for (size_t axis = 0; axis < 3; ++axis) whole[axis] = {0, way.spaced.geometry.size[axis]};
  return resample_along(masks, scan, way, whole);
}

}  // namespace sat
