// nibabel's reading of a header's forms, MONAI's choice between them, and what of them disagrees.
#include "sat/io/nifti/nifti_geometry.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>

#include "sat/io/scans/matrix.h"
#include "sat/io/scans/scan_checks.h"
#include "sat/io/words/text.h"

namespace sat {

namespace {

constexpr double kVisible = 0.05;      // voxels that two forms may differ by at a corner of the grid, unmentioned
constexpr double kExact = 1e-4;        // voxels by which a written header may miss the geometry
constexpr double kSameSpacing = 1e-3;  // relative
constexpr double kShearDegrees = 0.1;  // off a right angle, unmentioned
constexpr double kLeastSpacing = 1e-3, kMostSpacing = 1000;  // mm a voxel of anything that may be a scan
constexpr double kUsualLeast = 0.01, kUsualMost = 100;       // mm a voxel of what is likely one

Affine affine_of_rows(const std::array<std::array<double, 4>, 3>& rows) {
  Affine a;
  for (size_t i = 0; i < 3; ++i) a.m[i] = rows[i];
  return a;
}

/// nibabel's qform, in its precision (extended, where the machine has it); none if the quaternion is longer than 1. Not
/// by Eigen's Quaternion, which takes the norm for 1 and so rounds otherwise.
std::optional<Affine> affine_of_qform(const NiftiHeader& h, const std::array<double, 3>& spacing, double qfac) {
  using Real = long double;
  const Real x = h.quaternion[0], y = h.quaternion[1], z = h.quaternion[2];
  const Real eps =
      h.version == 2 ? Real(std::numeric_limits<double>::epsilon()) : Real(std::numeric_limits<float>::epsilon());
  const Real w2 = 1 - (x * x + y * y + z * z);
  if (!(w2 > -3 * eps)) return std::nullopt;  // also when it is not a number
  const Real w = std::fabs(w2) < 3 * eps ? Real(0) : std::sqrt(w2);
  const Real s = 2 / (w * w + x * x + y * y + z * z);
  const Real X = x * s, Y = y * s, Z = z * s;
  const Real rotation[3][3] = {{1 - (y * Y + z * Z), x * Y - w * Z, x * Z + w * Y},
                               {x * Y + w * Z, 1 - (x * X + z * Z), y * Z - w * X},
                               {x * Z - w * Y, y * Z + w * X, 1 - (x * X + y * Y)}};
  Affine a;
  for (size_t i = 0; i < 3; ++i) {
    for (size_t j = 0; j < 3; ++j) a.m[i][j] = double(rotation[i][j] * Real(spacing[j] * (j == 2 ? qfac : 1)));
    a.m[i][3] = h.offset[i];
  }
  return a;
}

Affine affine_of_spacing(const std::array<int64_t, 3>& size, const std::array<double, 3>& spacing) {
  Affine a;
  for (size_t i = 0; i < 3; ++i) {
    const double zoom = i == 0 ? -spacing[i] : spacing[i];
    a.m[i][i] = zoom;
    a.m[i][3] = -(double(size[i] - 1) / 2) * zoom;
  }
  return a;
}

bool close(double a, double b) { return std::fabs(a - b) <= 1e-8 + 1e-5 * std::fabs(b); }

/// Does the affine's spacing agree with pixdim? As MONAI compares it: for four axes it takes the norms of all four
/// columns, so that the translation is held against the time step.
bool agrees(const Affine& a, const std::array<double, 3>& spacing, int axes, double time_step) {
  const Eigen::Vector4d norms = column_products(matrix_of(a)).diagonal().cwiseSqrt();
  for (size_t i = 0; i < 3; ++i) {
    const double norm = norms[Eigen::Index(i)];
    if (!close(norm == 0 ? 1 : norm, spacing[i])) return false;
  }
  return axes < 4 || close(norms[3], time_step);
}

/// The quaternion (b, c, d) of a rotation, taken from its largest component so that nothing cancels; a >= 0. Not
/// by Eigen's Quaternion, which takes it from a wherever the trace is positive: version 2 stores every bit.
std::array<double, 3> quaternion_of(const Eigen::Matrix3d& r) {
  const double xx = r(0, 0), yy = r(1, 1), zz = r(2, 2);
  std::array<double, 4> q{1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz};  // 4 a^2, 4 b^2, ..
  const size_t largest = size_t(std::max_element(q.begin(), q.end()) - q.begin());
  const double b = r(2, 1) - r(1, 2), c = r(0, 2) - r(2, 0), d = r(1, 0) - r(0, 1);     // 4 a b, ..
  const double bc = r(1, 0) + r(0, 1), bd = r(0, 2) + r(2, 0), cd = r(2, 1) + r(1, 2);  // 4 b c, ..
  const std::array<std::array<double, 4>, 4> products{
      {{q[0], b, c, d}, {b, q[1], bc, bd}, {c, bc, q[2], cd}, {d, bd, cd, q[3]}}};
  const double scale = 0.5 / std::sqrt(q[largest]);
  for (size_t i = 0; i < 4; ++i) q[i] = products[largest][i] * scale;
  const double sign = q[0] < 0 ? -1 : 1;
  return {sign * q[1], sign * q[2], sign * q[3]};
}

std::string four(double value) { return significant(value, 4); }

bool known(int code) { return code >= 1 && code <= 5; }  // nibabel takes other codes for 0

/// pixdim as nibabel repairs it.
std::array<double, 3> spacing_of(const NiftiHeader& h) {
  std::array<double, 3> spacing{};
  for (size_t i = 0; i < 3; ++i) spacing[i] = h.pixdim[i + 1] == 0 ? 1 : std::fabs(h.pixdim[i + 1]);
  return spacing;
}

bool usable(const Affine& a) {
  try {
    inverse(a);
    return true;
  } catch (const Error&) {
    return false;
  }
}

/// What the forms of a header say, each by itself.
struct Forms {
  std::array<double, 3> spacing;  // of pixdim
  Affine sform;
  std::optional<Affine> qform;  // none if its quaternion is too long
  bool sform_known, qform_known;

  explicit Forms(const NiftiHeader& h)
      : spacing(spacing_of(h)),
        sform(affine_of_rows(h.srow)),
        qform(affine_of_qform(h, spacing, h.pixdim[0] == -1 ? -1 : 1)),
        sform_known(known(h.sform_code)),
        qform_known(known(h.qform_code)) {}
};

/// Did nobody fill in pixdim, so that it cannot speak against a sform? A length of 0 is none, and 1 stands there in a
/// header as it is made.
bool is_blank(const NiftiHeader& h, bool qform_known) {
  bool all_ones = true;
  for (size_t i = 1; i <= 3; ++i) {
    if (h.pixdim[i] == 0) return true;
    all_ones = all_ones && h.pixdim[i] == 1;
  }
  return all_ones && !qform_known;
}

/// nibabel's choice, then MONAI's repair. Of that repair's four rules only one ever changes the affine: a qform is
/// built from pixdim, so it can contradict it in no file that nibabel opens. Differs: a sform does not give way to a
/// pixdim that was never filled in, but gives way where it is no affine at all.
NiftiForm choose_form(const NiftiHeader& h, const Forms& forms, int axes, double time_step) {
  if (!forms.sform_known) return forms.qform_known ? NiftiForm::qform : NiftiForm::pixdim;
  const bool sform_usable = usable(forms.sform);
  if (!sform_usable && forms.qform_known && forms.qform && usable(*forms.qform)) return NiftiForm::qform;
  const bool repair = axes < 5 && !agrees(forms.sform, forms.spacing, axes, time_step) && forms.qform &&
                      agrees(*forms.qform, forms.spacing, axes, time_step) &&
                      !(is_blank(h, forms.qform_known) && sform_usable);
  return repair ? NiftiForm::qform : NiftiForm::sform;
}

/// The affine of a form. A qform that stands in for a sform passes through the sform's fields, which are f32 in version
/// 1, as in MONAI.
Affine affine_of(const NiftiHeader& h, const Forms& forms, NiftiForm form, const std::string& path) {
  if (form == NiftiForm::sform) return forms.sform;
  if (form == NiftiForm::pixdim) return affine_of_spacing(h.geometry.size, forms.spacing);
  SAT_CHECK(forms.qform, path, ": the quaternion of the qform, ", h.quaternion[0], " ", h.quaternion[1], " ",
            h.quaternion[2], ", is longer than 1");
  Affine a = *forms.qform;
  if (forms.sform_known && h.version == 1) {
    auto fields = matrix_of(a);
    fields = fields.cast<float>().cast<double>();
  }
  return a;
}

/// How far apart two affines put a voxel of the grid, at most, in millimetres; infinite where one is not finite.
double mm_apart(const Geometry& grid, const Affine& a, const Affine& b) {
  double most = 0;
  for (int corner = 0; corner < 8; ++corner) {
    std::array<double, 3> voxel{};
    for (size_t k = 0; k < 3; ++k) voxel[k] = (corner >> k & 1) ? double(grid.size[k] - 1) : 0;
    const std::array<double, 3> at = sat::apply(a, voxel), there = sat::apply(b, voxel);
    const double mm = std::hypot(at[0] - there[0], at[1] - there[1], at[2] - there[2]);
    most = std::isfinite(mm) ? std::max(most, mm) : std::numeric_limits<double>::infinity();
  }
  return most;
}

/// The same in voxels of `a`.
double voxels_apart(const Geometry& grid, const Affine& a, const Affine& b) {
  const std::array<double, 3> norms = column_norms(a);
  return mm_apart(grid, a, b) / *std::min_element(norms.begin(), norms.end());
}

/// The largest angle by which two axes miss a right angle, in degrees.
double shear_degrees(const Affine& a) {
  const Eigen::Matrix3d products = column_products(linear_part(a));
  const Eigen::Vector3d norms = products.diagonal().cwiseSqrt();
  double most = 0;
  for (Eigen::Index j = 0; j < 3; ++j) {
    const Eigen::Index k = (j + 1) % 3;
    const double cosine = products(j, k) / (norms[j] * norms[k]);
    most = std::max(most, std::asin(std::min(std::fabs(cosine), 1.0)) * 180 / 3.14159265358979);
  }
  return most;
}

/// "0.9766 x 0.9766 x 2.5 mm"
std::string in_mm(const std::array<double, 3>& lengths, double factor = 1) {
  return four(factor * lengths[0]) + " x " + four(factor * lengths[1]) + " x " + four(factor * lengths[2]) + " mm";
}

bool same_lengths(const std::array<double, 3>& a, const std::array<double, 3>& b) {
  for (size_t i = 0; i < 3; ++i) {
    if (!(std::fabs(a[i] - b[i]) <= kSameSpacing * std::fabs(b[i]))) return false;  // also when it is not a number
  }
  return true;
}

std::array<double, 3> stored_spacing(const NiftiHeader& h) {
  return {std::fabs(h.pixdim[1]), std::fabs(h.pixdim[2]), std::fabs(h.pixdim[3])};
}

/// Turns the header's lengths into millimetres, by its units. Where only the bare numbers can be those of a scan, the
/// units are what is wrong.
void to_millimetres(NiftiHeader& h) {
  constexpr int kSpatial = 7, kMetre = 1, kMillimetre = 2, kMicrometre = 3;
  const int unit = h.units & kSpatial;
  if (unit != kMetre && unit != kMicrometre) return;
  h.units = (h.units & ~kSpatial) | kMillimetre;
  const double mm = unit == kMetre ? 1000 : 0.001;
  const std::string name = unit == kMetre ? "metres" : "micrometres";
  const std::array<double, 3> norms = column_norms(h.geometry.voxel_to_world_mm);
  const auto plausible = [&](double factor) {
    return std::all_of(norms.begin(), norms.end(),
                       [&](double length) { return length * factor >= kUsualLeast && length * factor <= kUsualMost; });
  };
  if (!plausible(mm) && plausible(1)) {
    h.warnings.push_back("the header says that its lengths are in " + name + ", which would make voxels of " +
                         in_mm(norms, mm) + "; they were taken as millimetres");
    return;
  }
  for (size_t i = 0; i < 3; ++i) {
    h.pixdim[i + 1] *= mm;
    h.offset[i] *= mm;
    for (double& value : h.srow[i]) value *= mm;
    for (double& value : h.geometry.voxel_to_world_mm.m[i]) value *= mm;
  }
  h.warnings.push_back("the header's lengths are in " + name + "; they were converted to millimetres");
}

void add_disagreements(NiftiHeader& h, NiftiForm asked) {
  const Forms forms(h);  // again, now that lengths are millimetres
  const Affine& used = h.geometry.voxel_to_world_mm;
  const auto warn = [&](const std::string& what) { h.warnings.push_back(what); };
  const std::string the_used =
      std::string("; the ") + name_of(h.form) + " was used" + (asked == NiftiForm::automatic ? "" : ", as asked");
  if (h.form == NiftiForm::pixdim) {
    h.orientation_known = false;
    warn(std::string(forms.sform_known || forms.qform_known
                         ? "only the spacing was used, as asked: the orientation is a guess"
                         : "the header does not say how the patient lies (qform and sform codes are 0)") +
         ", so left and right are unreliable");
  }
  if (forms.sform_known && !usable(forms.sform)) {
    warn("the sform is not finite or singular" + the_used);
  } else if (forms.sform_known) {
    const std::array<double, 3> norms = column_norms(forms.sform);
    const double shear = shear_degrees(forms.sform);
    const std::string sheared = shear > kShearDegrees ? ", sheared by " + four(shear) + " degrees" : "";
    const bool qform_speaks = forms.qform && (forms.qform_known || h.form == NiftiForm::qform);
    const double apart = qform_speaks ? voxels_apart(h.geometry, forms.sform, *forms.qform) : 0;
    if (!same_lengths(norms, stored_spacing(h))) {
      warn("the sform has voxels of " + in_mm(norms) + sheared + ", pixdim says " + in_mm(stored_spacing(h)) +
           the_used);
    } else if (apart > kVisible) {
      warn("the sform" + (sheared.empty() ? "" : " (" + sheared.substr(2) + ")") +
           " and the qform put the same voxel up to " + four(mm_apart(h.geometry, forms.sform, *forms.qform)) +
           " mm apart" + the_used);
    }
  } else {
    const std::array<double, 3> stored = stored_spacing(h);
    const bool any_zero = std::any_of(stored.begin(), stored.end(), [](double length) { return length == 0; });
    if (any_zero) warn("pixdim says " + in_mm(stored) + ", where 0 was taken as 1");
  }
  if (forms.qform_known && !forms.qform)
    warn("the quaternion of the qform is longer than 1, so it says nothing" + the_used);
  if (shear_degrees(used) > kShearDegrees) {
    warn("the voxel axes are not perpendicular (sheared by " + four(shear_degrees(used)) +
         " degrees, as by a tilted gantry); the model sees them as if they were");
  }
}

/// Does a reader of three axes find h.geometry in these fields, whichever form it takes?
bool says_one_thing(const NiftiHeader& h) {
  const Forms forms(h);
  const Affine& used = h.geometry.voxel_to_world_mm;
  for (size_t i = 1; i <= 3; ++i) {
    if (!(h.pixdim[i] > 0)) return false;
  }
  for (int code : {h.sform_code, h.qform_code}) {
    if (code != 0 && !known(code)) return false;
  }
  if (!same_lengths(column_norms(used), stored_spacing(h))) return false;
  if (forms.sform_known && !(voxels_apart(h.geometry, used, forms.sform) <= kVisible)) return false;
  if (forms.qform_known && !(forms.qform && voxels_apart(h.geometry, used, *forms.qform) <= kVisible)) return false;
  const NiftiForm found = choose_form(h, forms, 3, 1);
  return voxels_apart(h.geometry, used, affine_of(h, forms, found, "a new file")) <= kExact;
}

}  // namespace

const char* name_of(NiftiForm form) {
  constexpr const char* names[] = {"auto", "sform", "qform", "pixdim"};
  return names[int(form)];
}

NiftiForm parse_nifti_form(const std::string& name) {
  for (NiftiForm form : {NiftiForm::automatic, NiftiForm::sform, NiftiForm::qform, NiftiForm::pixdim}) {
    if (name == name_of(form)) return form;
  }
  fail("'", name, "' is not auto, sform, qform or pixdim");
}

void choose_geometry(NiftiHeader& h, int axes, double time_step, NiftiForm asked, const std::string& path) {
  const Forms forms(h);
  h.form = asked == NiftiForm::automatic ? choose_form(h, forms, axes, time_step) : asked;
  h.geometry.voxel_to_world_mm = affine_of(h, forms, h.form, path);
  try {
    inverse(h.geometry.voxel_to_world_mm);
  } catch (const Error& error) {
    fail(path, ": ", name_of(h.form), ": ", error.what());
  }
  to_millimetres(h);
  const std::array<double, 3> spacing = column_norms(h.geometry.voxel_to_world_mm);
  for (double length : spacing) {
    SAT_CHECK(length >= kLeastSpacing && length <= kMostSpacing, path, ": voxels of ", in_mm(spacing),
              " cannot be those of a scan; needed are ", kLeastSpacing, " to ", kMostSpacing, " mm along each axis");
  }
  add_disagreements(h, asked);
  for (const std::string& warning : geometry_warnings(h.geometry)) h.warnings.push_back(warning);
}

NiftiHeader agreeing_header(const NiftiHeader& h) {
  if (says_one_thing(h)) return h;
  NiftiHeader same = header_for(h.geometry);
  same.version = h.version;
  same.units = h.units;
  same.description = h.description;
  if (!known(h.sform_code) && !known(h.qform_code)) {
    const Affine guess = affine_of_spacing(h.geometry.size, column_norms(h.geometry.voxel_to_world_mm));
    if (voxels_apart(h.geometry, h.geometry.voxel_to_world_mm, guess) <= kExact) {  // what readers assume by themselves
      same.sform_code = same.qform_code = 0;
      same.pixdim[0] = 1;
      return same;
    }
  }
  const int of_qform = known(h.qform_code) ? h.qform_code : h.sform_code;
  const int code = h.form == NiftiForm::qform ? of_qform : h.sform_code;
  if (h.form == NiftiForm::pixdim || !known(code)) return same;
  same.sform_code = code;
  if (same.qform_code != 0) same.qform_code = code;
  return same;
}

NiftiHeader header_for(const Geometry& geometry) {
  NiftiHeader h;
  h.geometry = geometry;
  const Affine& a = geometry.voxel_to_world_mm;
  inverse(a);  // throws unless the axes span space
  const std::array<double, 3> spacing = column_norms(a);
  for (size_t i = 0; i < 3; ++i) {
    h.pixdim[i + 1] = spacing[i];
    h.srow[i] = a.m[i];
    h.offset[i] = a.m[i][3];
  }
  h.sform_code = 2;

  Affine rotation;
  linear_part(rotation) = linear_part(a).array().rowwise() / array_of(spacing).transpose();
  h.pixdim[0] = determinant(rotation) < 0 ? -1 : 1;
  const Eigen::Matrix3d products = column_products(linear_part(rotation));
  for (Eigen::Index j = 0; j < 3; ++j) {
    if (std::fabs(products(j, (j + 1) % 3)) > 1e-6) return h;  // sheared
  }
  linear_part(rotation).col(2) *= h.pixdim[0];
  h.qform_code = 2;
  h.quaternion = quaternion_of(linear_part(rotation));
  return h;
}

}  // namespace sat
