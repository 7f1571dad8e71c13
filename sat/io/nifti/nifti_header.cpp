// The NIfTI header: fields at fixed offsets, in two versions and two byte orders.
#include "sat/io/nifti/nifti_header.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "sat/io/nifti/nifti_geometry.h"

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

std::string text_field(const uint8_t* bytes, size_t capacity) {
  const uint8_t* end = std::find(bytes, bytes + capacity, uint8_t(0));
  return {bytes, end};
}

void check_magic(const uint8_t* magic, int version, bool& pair, const std::string& path) {
  const char digit = char('0' + version);
  pair = magic[1] == 'i';
  const bool good = magic[0] == 'n' && (magic[1] == '+' || pair) && char(magic[2]) == digit && magic[3] == 0;
  SAT_CHECK(
      good, path, ": not a NIfTI file: the magic bytes are ", int(magic[0]), " ", int(magic[1]), " ", int(magic[2]),
      " ", int(magic[3]), ", not 'n+", digit, "' or 'ni", digit,
      "' (zeros mean Analyze 7.5, whose orientation is unknown: convert it to NIfTI with a tool that asks for it)");
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

int64_t nifti_header_bytes(const uint8_t* first_four) {
  int32_t size;
  std::memcpy(&size, first_four, 4);
  for (int32_t asked : {size, swap_bytes(size)}) {
    if (asked == kNifti1Bytes || asked == kNifti2Bytes) return asked;
  }
  return 0;
}

NiftiLayout parse_nifti_header(const uint8_t* bytes, const std::string& path, const NiftiReadOptions& options) {
  NiftiLayout layout;
  NiftiHeader& h = layout.header;
  const int64_t header_bytes = nifti_header_bytes(bytes);
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
  if (bits != 0 && bits != 8 * element) {
    h.warnings.push_back("bitpix is " + std::to_string(bits) + ", but " + name_of_nifti_type(h.datatype) + " has " +
                         std::to_string(8 * element) + " bits; the type was believed");
  }
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

  choose_geometry(h, int(axes), field.real(at.pixdim, 4), options.geometry, path);
  return layout;
}

std::string format_nifti_header(const NiftiHeader& like, int datatype) {
  const NiftiHeader h = agreeing_header(like);
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

}  // namespace sat
