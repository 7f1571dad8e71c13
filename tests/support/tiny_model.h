// A SAT model of a few thousand generated weights, for tests of everything around the network.
#pragma once

#include <string>

#include "sat/io/scans/volume.h"
#include "sat/nn/sat/sat_config.h"

namespace sat::test {

/// Three stages, windows of 16 x 16 x 8, 1 x 1 x 3 mm, made for any modality.
SatConfig tiny_config();
/// The same with another backbone: U-Mamba of two Mamba layers; SwinUNETR of two transformer stages and windows of
/// three.
SatConfig tiny_config(BackboneKind backbone);
/// Writes the tiny model, and a bank with phrases "prompt 0" ... in it; returns nothing to load but the paths given.
void write_tiny_model(const std::string& model_path, const std::string& bank_path, int64_t phrases,
                      BackboneKind backbone = BackboneKind::unet);
/// A smooth, positive, lopsided scan of this size with 1 x 1 x 3 mm voxels.
Volume tiny_scan(const std::array<int64_t, 3>& size);

}  // namespace sat::test
