// The NIfTI header: fields at fixed offsets, nibabel's repairs of them, and MONAI's choice between sform and qform.
#include "sat/io/nifti_header.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

namespace sat {

static_assert(std::endian::native == std::endian::little, "NIfTI is read and written as little-endian here");

namespace {

constexpr int64_t kMaxNifti1Size = 32767;

struct TypeName {
  int code, bytes;  // bytes 0: not a real number that fits f32 computing
  const char* name;
};
constexpr TypeName kTypes[] = {
    {1, 0, "binary"},        {2, 1, "uint8"},     {4, 2, "int16"},     {8, 4, "int32"},       {16, 4, "float32"},
    {32, 0, "complex64"},    {64, 8, "float64"},  {128, 0, "RGB24"},   {256, 1, "int8"},      {512, 2, "uint16"},
    {768, 4, "uint32"},      {1024, 8, "int64"},  {1280, 8, "uint64"}, {1536, 0, "float128"}, {1792, 0, "complex128"},
    {2048, 0, "complex256"}, {2304, 0, "RGBA32"},
};

/// Where the fields lie. The two versions have the same ones, at other offsets and widths.
struct Fields {
  int64_t size;
  int dim, datatype, bitpix, pixdim, vox_offset, slope, inter, units, description, codes, quaternion, offset, srow,
      magic;
};
constexpr Fields kNifti1{kNifti1Bytes, 40, 70, 72, 76, 108, 112, 116, 123, 148, 252, 256, 268, 280, 344};
constexpr Fields kNifti2{kNifti2Bytes, 16, 12, 14, 104, 168, 176, 184, 500, 240, 344, 352, 376, 400, 4};

template <class T>
T swap_bytes(T value) {
  std::array<uint8_t, sizeof(T)> bytes;
  std::memcpy(bytes.data(), &value, sizeof(T));
  std::reverse(bytes.begin(), bytes.end());
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

/// Reads fields in the file's byte order; integers and reals are wider in version 2.
struct Reader {
  const uint8_t* bytes;
  bool wide, swapped;

  template <class T>
  T get(int at) const {
    T value;
    std::memcpy(&value, bytes + at, sizeof(T));
    return swapped ? swap_bytes(value) : value;
  }
  double real(int at, int index = 0) const {
    return wide ? get<double>(at + 8 * index) : double(get<float>(at + 4 * index));
  }
  int64_t size(int at, int index) const {
    return wide ? get<int64_t>(at + 8 * index) : int64_t(get<int16_t>(at + 2 * index));
  }
  int code(int at, int index) const { return wide ? get<int32_t>(at + 4 * index) : get<int16_t>(at + 2 * index); }
};

struct Writer {
  std::string bytes;
  bool wide;

  template <class T>
  void put(int at, T value) {
    std::memcpy(&bytes[size_t(at)], &value, sizeof(T));
  }
  void real(int at, int index, double value) { wide ? put(at + 8 * index, value) : put(at + 4 * index, float(value)); }
  void size(int at, int index, int64_t value) {
    wide ? put(at + 8 * index, value) : put(at + 2 * index, int16_t(value));
  }
  void code(int at, int index, int value) {
    wide ? put(at + 4 * index, int32_t(value)) : put(at + 2 * index, int16_t(value));
  }
};

Affine affine_of_rows(const std::array<std::array<double, 4>, 3>& rows) {
  Affine a;
  for (size_t i = 0; i < 3; ++i) a.m[i] = rows[i];
  return a;
}

/// nibabel's qform, in its precision (extended, where the machine has it); none if the quaternion is longer than 1.
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
  const std::array<double, 3> norms = column_norms(a);
  for (size_t i = 0; i < 3; ++i) {
    if (!close(norms[i] == 0 ? 1 : norms[i], spacing[i])) return false;
  }
  const double shift = std::sqrt(a.m[0][3] * a.m[0][3] + a.m[1][3] * a.m[1][3] + a.m[2][3] * a.m[2][3] + 1);
  return axes < 4 || close(shift, time_step);
}

/// nibabel's affine, then MONAI's repair. Of that repair's four rules only one ever changes the affine: a qform is
/// built from pixdim, so it can contradict it in no file that nibabel opens.
Affine choose_affine(const NiftiHeader& h, int axes, double time_step, const std::string& path) {
  std::array<double, 3> spacing;
  for (size_t i = 0; i < 3; ++i) spacing[i] = h.pixdim[i + 1] == 0 ? 1 : std::fabs(h.pixdim[i + 1]);
  const double qfac = h.pixdim[0] == -1 ? -1 : 1;
  const auto known = [](int code) { return code >= 1 && code <= 5; };  // nibabel takes other codes for 0
  const std::optional<Affine> qform = affine_of_qform(h, spacing, qfac);
  if (known(h.sform_code)) {
    const Affine sform = affine_of_rows(h.srow);
    const bool repair =
        axes < 5 && !agrees(sform, spacing, axes, time_step) && qform && agrees(*qform, spacing, axes, time_step);
    if (!repair) return sform;
    Affine stored = *qform;  // through the sform's fields, which are f32 in version 1
    for (auto& row : stored.m) {
      for (double& value : row) value = h.version == 1 ? double(float(value)) : value;
    }
    return stored;
  }
  if (!known(h.qform_code)) return affine_of_spacing(h.geometry.size, spacing);
  SAT_CHECK(qform, path, ": the quaternion of the qform, ", h.quaternion[0], " ", h.quaternion[1], " ", h.quaternion[2],
            ", is longer than 1");
  return *qform;
}

/// The quaternion (b, c, d) of a rotation, taken from its largest component so that nothing cancels; a >= 0.
std::array<double, 3> quaternion_of(const Affine& r) {
  const double xx = r.m[0][0], yy = r.m[1][1], zz = r.m[2][2];
  std::array<double, 4> q{1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz};  // 4 a^2, 4 b^2, ..
  const size_t largest = size_t(std::max_element(q.begin(), q.end()) - q.begin());
  const double b = r.m[2][1] - r.m[1][2], c = r.m[0][2] - r.m[2][0], d = r.m[1][0] - r.m[0][1];     // 4 a b, ..
  const double bc = r.m[1][0] + r.m[0][1], bd = r.m[0][2] + r.m[2][0], cd = r.m[2][1] + r.m[1][2];  // 4 b c, ..
  const std::array<std::array<double, 4>, 4> products{
      {{q[0], b, c, d}, {b, q[1], bc, bd}, {c, bc, q[2], cd}, {d, bd, cd, q[3]}}};
  const double scale = 0.5 / std::sqrt(q[largest]);
  for (size_t i = 0; i < 4; ++i) q[i] = products[largest][i] * scale;
  const double sign = q[0] < 0 ? -1 : 1;
  return {sign * q[1], sign * q[2], sign * q[3]};
}

std::string text_field(const uint8_t* bytes, size_t capacity) {
  const uint8_t* end = std::find(bytes, bytes + capacity, uint8_t(0));
  return {bytes, end};
}

void check_magic(const uint8_t* magic, int version, bool& pair, const std::string& path) {
  const char digit = char('0' + version);
  pair = magic[1] == 'i';
  const bool good = magic[0] == 'n' && (magic[1] == '+' || pair) && char(magic[2]) == digit && magic[3] == 0;
  SAT_CHECK(good, path, ": not a NIfTI file: the magic bytes are ", int(magic[0]), " ", int(magic[1]), " ",
            int(magic[2]), " ", int(magic[3]), ", not 'n+", digit, "' or 'ni", digit,
            "' (zeros mean Analyze 7.5, whose orientation is unknown)");
  if (version == 1) return;
  const bool ends_unharmed = std::memcmp(magic + 4, "\r\n\x1A\n", 4) == 0 || std::memcmp(magic + 4, "\0\0\0\0", 4) == 0;
  SAT_CHECK(ends_unharmed, path, ": its line ends were converted, so the data are damaged");
}

}  // namespace

const char* name_of_nifti_type(int datatype) {
  for (const TypeName& type : kTypes) {
    if (type.code == datatype) return type.name;
  }
  return "unknown";
}

int64_t nifti_type_bytes(int datatype, const std::string& path) {
  for (const TypeName& type : kTypes) {
    if (type.code == datatype && type.bytes > 0) return type.bytes;
  }
  fail(path, ": voxels of type ", name_of_nifti_type(datatype), " (code ", datatype,
       ") are not supported; needed are integers of 8 to 64 bits, float32 or float64");
}

int64_t nifti_header_bytes(const uint8_t* first_four, const std::string& path) {
  int32_t size;
  std::memcpy(&size, first_four, 4);
  for (int32_t asked : {size, swap_bytes(size)}) {
    if (asked == kNifti1Bytes || asked == kNifti2Bytes) return asked;
  }
  fail(path, ": not a NIfTI file: it starts with ", size, " where 348 or 540, the size of the header, should stand");
}

NiftiLayout parse_nifti_header(const uint8_t* bytes, const std::string& path) {
  NiftiLayout layout;
  NiftiHeader& h = layout.header;
  const int64_t header_bytes = nifti_header_bytes(bytes, path);
  h.version = header_bytes == kNifti1Bytes ? 1 : 2;
  const Fields& at = h.version == 1 ? kNifti1 : kNifti2;
  layout.swapped = bytes[0] != uint8_t(header_bytes & 255);
  const Reader field{bytes, h.version == 2, layout.swapped};
  check_magic(bytes + at.magic, h.version, layout.pair, path);

  const int64_t axes = field.size(at.dim, 0);
  SAT_CHECK(axes >= 3 && axes <= 7, path, ": dim[0], the number of axes, is ", axes, ", needs 3 to 7");
  for (int i = 1; i <= int(axes); ++i) {
    const int64_t size = field.size(at.dim, i);
    SAT_CHECK(size >= 1, path, ": dim[", i, "] is ", size, ", needs at least 1");
    if (i <= 3) {
      h.geometry.size[size_t(i - 1)] = size;
      continue;
    }
    SAT_CHECK(size == 1, path, ": it holds more than one volume: dim[", i, "] is ", size, ", needs 1; the grid is ",
              h.geometry.size[0], " x ", h.geometry.size[1], " x ", h.geometry.size[2]);
  }

  h.datatype = field.get<int16_t>(at.datatype);
  const int64_t element = nifti_type_bytes(h.datatype, path);
  const int bits = field.get<int16_t>(at.bitpix);
  SAT_CHECK(bits == 0 || bits == 8 * element, path, ": bitpix is ", bits, ", but ", name_of_nifti_type(h.datatype),
            " has ", 8 * element, " bits");
  layout.voxel_bytes = element;
  for (int64_t size : h.geometry.size) {
    SAT_CHECK(!__builtin_mul_overflow(layout.voxel_bytes, size, &layout.voxel_bytes), path, ": ", h.geometry.size[0],
              " x ", h.geometry.size[1], " x ", h.geometry.size[2], " voxels are more than any file can hold");
  }

  const double offset = field.wide ? double(field.get<int64_t>(at.vox_offset)) : field.real(at.vox_offset);
  const int64_t least = layout.pair ? 0 : header_bytes + 4;
  SAT_CHECK(offset >= double(least) && offset <= 0x1p53 && offset == std::floor(offset), path, ": vox_offset is ",
            offset, ", needs a whole number of at least ", least);
  layout.voxel_offset = int64_t(offset);

  h.slope = field.real(at.slope);
  h.inter = field.real(at.inter);
  const bool scaled = h.slope != 0 && std::isfinite(h.slope);
  SAT_CHECK(!scaled || std::isfinite(h.inter), path, ": scl_slope is ", h.slope, " but scl_inter is not finite");
  for (int i = 0; i < 4; ++i) h.pixdim[size_t(i)] = field.real(at.pixdim, i);
  h.qform_code = field.code(at.codes, 0);
  h.sform_code = field.code(at.codes, 1);
  for (int i = 0; i < 3; ++i) {
    h.quaternion[size_t(i)] = field.real(at.quaternion, i);
    h.offset[size_t(i)] = field.real(at.offset, i);
    for (int j = 0; j < 4; ++j) h.srow[size_t(i)][size_t(j)] = field.real(at.srow, 4 * i + j);
  }
  h.units = field.wide ? field.get<int32_t>(at.units) : int(bytes[at.units]);
  h.description = text_field(bytes + at.description, 80);

  h.geometry.voxel_to_world_mm = choose_affine(h, int(axes), field.real(at.pixdim, 4), path);
  try {
    inverse(h.geometry.voxel_to_world_mm);
  } catch (const Error& error) {
    fail(path, ": ", error.what());
  }
  return layout;
}

std::string format_nifti_header(const NiftiHeader& h, int datatype) {
  const int64_t largest = *std::max_element(h.geometry.size.begin(), h.geometry.size.end());
  const bool wide = h.version == 2 || largest > kMaxNifti1Size;
  const Fields& at = wide ? kNifti2 : kNifti1;
  Writer field{std::string(size_t(at.size + 4), '\0'), wide};
  field.put(0, int32_t(at.size));
  wide ? field.bytes.replace(size_t(at.magic), 8, "n+2\0\r\n\x1A\n", 8)
       : field.bytes.replace(size_t(at.magic), 4, "n+1\0", 4);
  field.size(at.dim, 0, 3);
  for (int i = 0; i < 7; ++i) field.size(at.dim, i + 1, i < 3 ? h.geometry.size[size_t(i)] : 1);
  field.put(at.datatype, int16_t(datatype));
  field.put(at.bitpix, int16_t(8 * nifti_type_bytes(datatype, "a new file")));
  for (int i = 0; i < 8; ++i) field.real(at.pixdim, i, i < 4 ? h.pixdim[size_t(i)] : 1);
  wide ? field.put(at.vox_offset, at.size + 4) : field.put(at.vox_offset, float(at.size + 4));
  field.real(at.slope, 0, 1);
  field.code(at.codes, 0, h.qform_code);
  field.code(at.codes, 1, h.sform_code);
  for (int i = 0; i < 3; ++i) {
    field.real(at.quaternion, i, h.quaternion[size_t(i)]);
    field.real(at.offset, i, h.offset[size_t(i)]);
    for (int j = 0; j < 4; ++j) field.real(at.srow, 4 * i + j, h.srow[size_t(i)][size_t(j)]);
  }
  wide ? field.put(at.units, int32_t(h.units)) : field.put(at.units, uint8_t(h.units));
  const std::string description = h.description.substr(0, 79);
  field.bytes.replace(size_t(at.description), description.size(), description);
  return field.bytes;
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
  double shear = 0;
  for (size_t i = 0; i < 3; ++i) {
    for (size_t j = 0; j < 3; ++j) rotation.m[i][j] = a.m[i][j] / spacing[j];
  }
  const auto& r = rotation.m;
  for (size_t j = 0; j < 3; ++j) {
    const size_t k = (j + 1) % 3;
    shear = std::max(shear, std::fabs(r[0][j] * r[0][k] + r[1][j] * r[1][k] + r[2][j] * r[2][k]));
  }
  const double determinant = r[0][0] * (r[1][1] * r[2][2] - r[1][2] * r[2][1]) -
                             r[0][1] * (r[1][0] * r[2][2] - r[1][2] * r[2][0]) +
                             r[0][2] * (r[1][0] * r[2][1] - r[1][1] * r[2][0]);
  h.pixdim[0] = determinant < 0 ? -1 : 1;
  if (shear > 1e-6) return h;
  for (size_t i = 0; i < 3; ++i) rotation.m[i][2] *= h.pixdim[0];
  h.qform_code = 2;
  h.quaternion = quaternion_of(rotation);
  return h;
}

}  // namespace sat
