// Headers whose forms contradict each other, say nothing or use other units: what is believed, what is said of it, and
// that the masks written say one thing to every reader.
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "sat/io/files/file.h"
#include "sat/io/nifti/nifti.h"
#include "tests/support/golden.h"
#include "tests/support/nifti_bytes.h"

namespace sat::test {
namespace {

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// An oblique grid of 12 x 10 x 8 voxels of 0.7 x 0.8 x 2.5 mm.
Geometry oblique() {
  Geometry grid;
  grid.size = {12, 10, 8};
  grid.voxel_to_world_mm.m = {{{0.42, -0.64, 0, -31.5}, {0.56, 0.48, 0, 12.25}, {0, 0, 2.5, 100}, {0, 0, 0, 1}}};
  return grid;
}

std::string good_bytes() { return nifti_bytes({zeros({12, 10, 8}, DType::u8), oblique()}); }

NiftiHeader header_of(const std::string& bytes, NiftiForm form = NiftiForm::automatic) {
  const TempDir folder;
  write_file_atomically(folder / "scan.nii", bytes);
  return read_nifti_header(folder / "scan.nii", {form});
}

std::string error_of(const std::string& bytes, NiftiForm form = NiftiForm::automatic) {
  try {
    header_of(bytes, form);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

/// The largest difference of two affines, each column against its length.
double difference(const Affine& a, const Affine& b) {
  double most = 0;
  for (size_t i = 0; i < 3; ++i) {
    for (size_t j = 0; j < 4; ++j) {
      most = std::max(most, std::fabs(a.m[i][j] - b.m[i][j]) / std::max(1.0, std::fabs(b.m[i][j])));
    }
  }
  return most;
}

/// Writes a mask for a scan with this header, and looks at it as each kind of reader does: by its sform, its qform, its
/// pixdim, and as the reference does. "" if all find the geometry of the header.
std::string disagreement_in_mask(const NiftiHeader& header) {
  const TempDir folder;
  write_nifti(folder / "mask.nii",
              zeros(Shape{header.geometry.size[0], header.geometry.size[1], header.geometry.size[2]}, DType::u8),
              header);
  const Affine& want = header.geometry.voxel_to_world_mm;
  const NiftiHeader mask = read_nifti_header(folder / "mask.nii");
  if (!(difference(mask.geometry.voxel_to_world_mm, want) < 2e-6)) return "the reference reads another affine";
  for (const std::string& warning : mask.warnings) {
    if (!contains(warning, "perpendicular") && !contains(warning, "how the patient lies")) return warning;
  }
  const auto by = [&](NiftiForm form) {
    return difference(read_nifti_header(folder / "mask.nii", {form}).geometry.voxel_to_world_mm, want);
  };
  if (mask.sform_code != 0 && !(by(NiftiForm::sform) < 2e-6)) return "by its sform it lies elsewhere";
  if (mask.qform_code != 0 && !(by(NiftiForm::qform) < 2e-5)) return "by its qform it lies elsewhere";
  if (mask.sform_code == 0 && mask.qform_code == 0 && !(by(NiftiForm::pixdim) < 2e-6)) return "pixdim says otherwise";
  const std::array<double, 3> norms = column_norms(want);
  for (size_t i = 0; i < 3; ++i) {
    if (!(std::fabs(mask.pixdim[i + 1] - norms[i]) <= 1.1e-5 * norms[i])) return "pixdim is not the spacing";
  }
  return "";
}

/// One warning, which is returned; otherwise all of them, which then match nothing.
std::string only_warning(const NiftiHeader& header) {
  std::string all;
  for (const std::string& warning : header.warnings) all += (all.empty() ? "" : " | ") + warning;
  return all;
}

TEST_CASE("a header whose forms agree has no warnings, and an oblique one neither") {
  CHECK(only_warning(header_of(good_bytes())) == "");
  CHECK(header_of(good_bytes()).form == NiftiForm::sform);
  CHECK(header_of(good_bytes()).orientation_known);
  std::string qform_only = good_bytes();
  put_codes(qform_only, 1, 0);
  CHECK(only_warning(header_of(qform_only)) == "");
  CHECK(header_of(qform_only).form == NiftiForm::qform);
  std::string sform_only = good_bytes();
  put_codes(sform_only, 0, 1);
  CHECK(only_warning(header_of(sform_only)) == "");
}

TEST_CASE("masks of every recorded careless header say one thing to every reader") {
  int odd = 0;
  for (const auto& entry : std::filesystem::directory_iterator(golden_path("nifti"))) {
    if (entry.path().extension() != ".nii") continue;
    CAPTURE(entry.path().filename().string());
    const NiftiHeader header = read_nifti_header(entry.path().string());
    CHECK(disagreement_in_mask(header) == "");
    odd += !header.warnings.empty();
  }
  CHECK(odd >= 10);
}

TEST_CASE("a sheared sform with another qform is named, and each can be asked for") {
  std::string bytes = good_bytes();
  Affine sheared = oblique().voxel_to_world_mm;
  sheared.m[1][2] += 2.5 * std::tan(15 * 3.14159265358979 / 180);  // a gantry tilted by 15 degrees
  put_sform(bytes, sheared);
  const NiftiHeader header = header_of(bytes);
  CHECK(header.form == NiftiForm::qform);
  CHECK(only_warning(header) ==
        "the sform has voxels of 0.7 x 0.8 x 2.588 mm, sheared by 11.95 degrees, pixdim says 0.7 x 0.8 x 2.5 mm; the "
        "qform was used");
  CHECK(difference(header.geometry.voxel_to_world_mm, oblique().voxel_to_world_mm) < 1e-6);
  CHECK(disagreement_in_mask(header) == "");

  const NiftiHeader asked = header_of(bytes, NiftiForm::sform);
  CHECK(difference(asked.geometry.voxel_to_world_mm, sheared) < 1e-6);
  CHECK(contains(only_warning(asked), "the sform was used, as asked"));
  CHECK(contains(only_warning(asked), "the voxel axes are not perpendicular (sheared by 11.95 degrees"));
  CHECK(disagreement_in_mask(asked) == "");  // and has no qform, which could not say it
}

TEST_CASE("a sform that lies elsewhere than the qform, at the same spacing, is named and used") {
  std::string bytes = good_bytes();
  Affine moved = oblique().voxel_to_world_mm;
  moved.m[0][3] += 28;
  put_sform(bytes, moved);
  const NiftiHeader header = header_of(bytes);
  CHECK(only_warning(header) == "the sform and the qform put the same voxel up to 28 mm apart; the sform was used");
  CHECK(difference(header.geometry.voxel_to_world_mm, moved) < 1e-6);
  CHECK(disagreement_in_mask(header) == "");
  const NiftiHeader asked = header_of(bytes, NiftiForm::qform);
  CHECK(difference(asked.geometry.voxel_to_world_mm, oblique().voxel_to_world_mm) < 1e-6);
  CHECK(disagreement_in_mask(asked) == "");
}

TEST_CASE("a sform does not give way to a spacing that nobody filled in") {
  for (const std::array<float, 4>& blank : {std::array<float, 4>{1, 1, 1, 1}, std::array<float, 4>{1, 0, 0, 0}}) {
    CAPTURE(blank[1]);
    std::string bytes = good_bytes();
    put_pixdim(bytes, blank);
    put_codes(bytes, 0, 1);
    for (size_t i = 0; i < 3; ++i) put(bytes, kQuaternion + 4 * i, 0.f);
    const NiftiHeader header = header_of(bytes);
    CHECK(header.form == NiftiForm::sform);
    CHECK(difference(header.geometry.voxel_to_world_mm, oblique().voxel_to_world_mm) < 1e-6);
    CHECK(contains(only_warning(header), "the sform has voxels of 0.7 x 0.8 x 2.5 mm, pixdim says " +
                                             std::string(blank[1] == 1 ? "1 x 1 x 1" : "0 x 0 x 0")));
    CHECK(disagreement_in_mask(header) == "");
  }
  std::string meant = good_bytes();  // a qform with a code means its spacing, whatever it is
  put_pixdim(meant, {1, 1, 1, 1});
  CHECK(header_of(meant).form == NiftiForm::qform);
  CHECK(disagreement_in_mask(header_of(meant)) == "");
}

TEST_CASE("a form that is no affine gives way to one that is") {
  std::string bytes = good_bytes();
  put(bytes, kSrow + 12, std::numeric_limits<float>::quiet_NaN());
  CHECK(header_of(bytes).form == NiftiForm::qform);
  CHECK(only_warning(header_of(bytes)) == "the sform is not finite or singular; the qform was used");
  CHECK(disagreement_in_mask(header_of(bytes)) == "");
  std::string too_long = good_bytes();
  put(too_long, kQuaternion, 1.5f);
  CHECK(header_of(too_long).form == NiftiForm::sform);
  CHECK(contains(only_warning(header_of(too_long)), "the quaternion of the qform is longer than 1"));
  CHECK(disagreement_in_mask(header_of(too_long)) == "");
  CHECK(contains(error_of(too_long, NiftiForm::qform), "is longer than 1"));
  CHECK(contains(error_of(bytes, NiftiForm::sform), "sform: an affine with numbers that are not finite"));
}

TEST_CASE("a header without forms has an unknown orientation, which its mask leaves unknown") {
  std::string bytes = good_bytes();
  put_codes(bytes, 0, 0);
  const NiftiHeader header = header_of(bytes);
  CHECK(header.form == NiftiForm::pixdim);
  CHECK_FALSE(header.orientation_known);
  CHECK(only_warning(header) ==
        "the header does not say how the patient lies (qform and sform codes are 0), so left and right are unreliable");
  CHECK(disagreement_in_mask(header) == "");
  put_pixdim(bytes, {1, 0.7f, 0, 2.5f});
  CHECK(contains(only_warning(header_of(bytes)), "pixdim says 0.7 x 0 x 2.5 mm, where 0 was taken as 1"));
  CHECK(disagreement_in_mask(header_of(bytes)) == "");
  const NiftiHeader asked = header_of(good_bytes(), NiftiForm::pixdim);
  CHECK_FALSE(asked.orientation_known);
  CHECK(contains(only_warning(asked), "only the spacing was used, as asked"));
  CHECK(disagreement_in_mask(asked) == "");
}

TEST_CASE("metres and micrometres become millimetres, in masks too") {
  for (int unit : {1, 3}) {
    CAPTURE(unit);
    const double scale = unit == 1 ? 1e-3 : 1e3;
    std::string bytes = good_bytes();
    Affine stored = oblique().voxel_to_world_mm;
    for (size_t i = 0; i < 3; ++i) {
      for (double& value : stored.m[i]) value *= scale;
      put(bytes, kQoffset + 4 * i, float(stored.m[i][3]));
    }
    put_sform(bytes, stored);
    put_pixdim(bytes, {1, float(0.7 * scale), float(0.8 * scale), float(2.5 * scale)});
    put(bytes, kUnits, uint8_t(unit | 16));  // and milliseconds, which stay
    const NiftiHeader header = header_of(bytes);
    CHECK(difference(header.geometry.voxel_to_world_mm, oblique().voxel_to_world_mm) < 1e-6);
    CHECK(header.units == (2 | 16));
    CHECK(only_warning(header) == std::string("the header's lengths are in ") + (unit == 1 ? "metres" : "micrometres") +
                                      "; they were converted to millimetres");
    CHECK(disagreement_in_mask(header) == "");
  }
}

TEST_CASE("units that would make no scan of numbers that are one are not believed") {
  std::string bytes = good_bytes();
  put(bytes, kUnits, uint8_t(1));
  const NiftiHeader header = header_of(bytes);
  CHECK(difference(header.geometry.voxel_to_world_mm, oblique().voxel_to_world_mm) < 1e-6);
  CHECK(
      only_warning(header) ==
      "the header says that its lengths are in metres, which would make voxels of 700 x 800 x 2500 mm; they were taken "
      "as millimetres");
  CHECK(header.units == 2);
}

TEST_CASE("a grid too small or too large for a patient is named, and one that no scanner makes is refused") {
  const auto of_spacing = [](float mm) {
    std::string bytes = good_bytes();
    put_codes(bytes, 1, 0);
    put_pixdim(bytes, {1, mm, mm, mm});
    return bytes;
  };
  CHECK(only_warning(header_of(of_spacing(1))) == "");
  CHECK(contains(only_warning(header_of(of_spacing(0.005f))), "voxels of 0.005 x 0.005 x 0.005 mm are unlike"));
  CHECK(contains(only_warning(header_of(of_spacing(0.1f))), "the scan measures 1.2 x 1 x 0.8 mm"));
  CHECK(contains(only_warning(header_of(of_spacing(300))), "voxels of 300 x 300 x 300 mm"));
  std::string long_one = nifti_bytes({zeros({60, 1, 1}, DType::u8), {{60, 1, 1}, {}}});
  put_codes(long_one, 1, 0);
  put_pixdim(long_one, {1, 60, 60, 60});
  CHECK(contains(only_warning(header_of(long_one)), "the scan measures 3.6e+03 x 60 x 60 mm"));
  for (float mm : {1.2e-38f, 5e-4f, 1500.f}) {
    CAPTURE(mm);
    CHECK(contains(error_of(of_spacing(mm)), "cannot be those of a scan"));
  }
}

}  // namespace
}  // namespace sat::test
