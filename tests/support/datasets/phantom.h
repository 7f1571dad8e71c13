// Small data sets on disk for tests: scans of spheres whose place is known in millimetres, and their label maps.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "sat/io/scans/volume.h"
#include "sat/tensor/tensor.h"

namespace sat::test {

struct Sphere {
  std::array<double, 3> centre_mm;
  double radius_mm;
  float intensity;
  int label;  // in the label map
};

/// About 40 x 36 x 44 mm around the origin.
struct Phantom {
  Geometry geometry;
  std::vector<Sphere> spheres;

  Tensor image() const;   // 40 outside of the spheres, all above 0
  Tensor labels() const;  // u8
};

/// Two spheres, values 1 and 2; `axes` says how the array lies in the patient, such as "RAS" or "SLP".
Phantom phantom(const std::string& axes = "RAS", const std::array<double, 3>& spacing_mm = {2, 1.5, 2.5});

/// Writes ID_ct.nii.gz and ID_label.nii.gz.
void write_phantom(const std::string& folder, const std::string& id, const Phantom& phantom);

void write_text(const std::string& path, const std::string& text);

/// labels.json for files of write_phantom(): "ball" is 1, "small ball" 2, "both" the union; `more` is put before.
std::string phantom_labels(const std::string& more = "");

}  // namespace sat::test
