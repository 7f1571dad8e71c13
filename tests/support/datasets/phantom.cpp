// Scans of spheres, written as NIfTI.
#include "tests/support/datasets/phantom.h"

#include <cmath>

#include "sat/io/files/file.h"
#include "sat/io/nifti/nifti.h"

namespace sat::test {

namespace {

/// Calls body(voxel number, position in mm) for every voxel.
template <class Body>
void for_each_position(const Geometry& geometry, Body body) {
  int64_t v = 0;
  for (int64_t h = 0; h < geometry.size[0]; ++h) {
    for (int64_t w = 0; w < geometry.size[1]; ++w) {
      for (int64_t d = 0; d < geometry.size[2]; ++d, ++v) {
        body(v, sat::apply(geometry.voxel_to_world_mm, {double(h), double(w), double(d)}));
      }
    }
  }
}

bool inside(const Sphere& sphere, const std::array<double, 3>& at) {
  const auto& c = sphere.centre_mm;
  return std::hypot(at[0] - c[0], at[1] - c[1], at[2] - c[2]) <= sphere.radius_mm;
}

}  // namespace

Tensor Phantom::image() const {
  Tensor voxels = full({geometry.size[0], geometry.size[1], geometry.size[2]}, 40);
  for_each_position(geometry, [&](int64_t v, const std::array<double, 3>& at) {
    for (const Sphere& sphere : spheres) {
      if (inside(sphere, at)) voxels.data<float>()[v] = sphere.intensity;
    }
  });
  return voxels;
}

Tensor Phantom::labels() const {
  Tensor voxels = zeros({geometry.size[0], geometry.size[1], geometry.size[2]}, DType::u8);
  for_each_position(geometry, [&](int64_t v, const std::array<double, 3>& at) {
    for (const Sphere& sphere : spheres) {
      if (inside(sphere, at)) voxels.data<uint8_t>()[v] = uint8_t(sphere.label);
    }
  });
  return voxels;
}

Phantom phantom(const std::string& axes, const std::array<double, 3>& spacing_mm) {
  constexpr std::array<double, 3> kExtent{40, 36, 44};
  Phantom made;
  Affine& affine = made.geometry.voxel_to_world_mm;
  for (size_t r = 0; r < 3; ++r) affine.m[r] = {};
  for (size_t k = 0; k < 3; ++k) {
    const std::string pairs = "RLAPSI";
    const size_t letter = pairs.find(axes[k]), world = letter / 2;
    const double sign = letter % 2 == 0 ? 1 : -1;
    made.geometry.size[k] = int64_t(kExtent[world] / spacing_mm[k]) + 1;
    affine.m[world][k] = sign * spacing_mm[k];
    affine.m[world][3] = -sign * kExtent[world] / 2;
  }
  made.spheres = {{{-6, 3, 4}, 9, 300, 1}, {{10, -8, -9}, 6, 600, 2}};
  return made;
}

void write_phantom(const std::string& folder, const std::string& id, const Phantom& phantom) {
  const NiftiHeader header = header_for(phantom.geometry);
  write_nifti(folder + "/" + id + "_ct.nii.gz", phantom.image(), header);
  write_nifti(folder + "/" + id + "_label.nii.gz", phantom.labels(), header);
}

void write_text(const std::string& path, const std::string& text) { write_file_atomically(path, text); }

std::string phantom_labels(const std::string& more) {
  return "{" + more + R"("dataset": "balls", "modality": "ct", "image": "*_ct.nii.gz", "label_map": "*_label.nii.gz",
    "labels": {"ball": 1, "small ball": 2, "both": [1, 2]}})";
}

}  // namespace sat::test
