// What a scan becomes before a model sees it: turned, resampled, cropped and normalised, with the way back.
// Follows the published inference pipeline. Knows nothing of files (nifti.h), windows (windows.h) or networks.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "sat/io/scans/resample.h"
#include "sat/io/scans/volume.h"

namespace sat {

/// Intensities are clipped, then shifted and scaled to mean 0 and standard deviation 1 (of the population), all over
/// the cropped volume.
struct Normalisation {
  enum class Kind : uint8_t {
    clip,        // bounds are low and high
    percentiles  // bounds are these percentiles, 0 to 100, linear between order statistics, rounded to float32
  };
  Kind kind = Kind::percentiles;
  double low = 0.5, high = 99.5;
};

struct PreprocessOptions {
  std::string orientation = "RAS";            // where array axes 0, 1, 2 grow to
  std::array<double, 3> spacing_mm{1, 1, 3};  // along array axes 0, 1, 2, after turning
  Normalisation normalisation;
};

/// What the published models were trained with: RAS, 1 x 1 x 3 mm; exactly "ct" (in any case) is clipped to
/// -500 .. 1000 HU, anything else to its 0.5 and 99.5 percentiles.
PreprocessOptions published_preprocess(const std::string& modality);

/// How a model's voxels lie in the scan, and back.
struct ModelGrid {
  Geometry scan;                                 // as in the file
  Geometry oriented;                             // turned, its affine rounded to float32
  Geometry resampled;                            // at the model's spacing
  std::array<std::array<int64_t, 2>, 3> crop{};  // half-open box in `resampled`: {start, end} an axis
  Geometry model;                                // the voxels in that box
  Affine scan_to_resampled;                      // voxel index -> voxel index; whole numbers when nothing was resampled
  bool resampled_any = false;                    // false: every model voxel is a scan voxel
};

struct Preprocessed {
  Tensor voxels;  // f32 [H, W, D] of grid.model, normalised
  ModelGrid grid;
  double low = 0, high = 0;        // bounds that intensities were clipped to
  double mean = 0, deviation = 0;  // of the clipped, cropped volume
  std::vector<std::string> warnings;
};

/// Runs all steps. The crop is the bounding box of voxels above 0 (before normalisation, so above 0 HU in CT); a volume
/// without any is kept whole, a constant one becomes zeros, both with a warning. Throws Error for voxels that are not
/// finite, a scan that is not f32 of its geometry's size, and whatever space_grid() refuses.
/// Memory beyond the scan: one f32 copy of the resampled volume, which `voxels` keeps. In a dry context the
/// result is that volume, uncropped.
Preprocessed preprocess(const Volume& scan, const PreprocessOptions& options);

/// The grid without looking at voxels: the crop is the whole resampled volume, the most that preprocess() can return.
ModelGrid plan_grid(const Geometry& scan, const PreprocessOptions& options);

/// The same model voxels as a scan of their own, for masks that stay in the model's space: the identity map.
ModelGrid model_space(const ModelGrid& grid);

}  // namespace sat
