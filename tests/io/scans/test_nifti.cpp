// NIfTI reading agrees with nibabel and MONAI to the bit; what is written reads back the same.
#include "sat/io/nifti/nifti.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <sstream>

#include "sat/io/files/file.h"
#include "sat/tensor/context.h"
#include "sat/tensor/memory/memory.h"
#include "tests/support/golden.h"

namespace sat {
namespace {

using namespace test;

struct Recorded {
  std::string name;
  Affine affine;
};

std::vector<Recorded> recorded_scans() {
  std::istringstream lines(read_text(golden_path("nifti/affines.txt")));
  std::vector<Recorded> scans;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    Recorded scan;
    words >> scan.name;
    for (size_t i = 0; i < 12; ++i) {
      std::string number;
      words >> number;
      scan.affine.m[i / 4][i % 4] = std::strtod(number.c_str(), nullptr);
    }
    scans.push_back(scan);
  }
  return scans;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape == b.shape && a.dtype == b.dtype && std::memcmp(a.raw(), b.raw(), size_t(a.bytes())) == 0;
}

template <class T>
Tensor counting(const Shape& shape, DType dtype, int modulus) {
  Tensor x(shape, dtype);
  for (int64_t i = 0; i < x.numel(); ++i) x.data<T>()[i] = T(i * 7919 % modulus);
  return x;
}

Geometry oblique(std::array<int64_t, 3> size) {
  Affine a;
  a.m[0] = {0.6f, -0.8f, 0, -31.5f};
  a.m[1] = {0.8f, 0.6f, 0, 12.25f};
  a.m[2] = {0, 0, 3, 100};
  return {size, a};
}

int64_t entries(const std::string& folder) {
  return std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator());
}

TEST_CASE("every recorded scan reads to the reference's voxels and affine, bit for bit") {
  const std::vector<Recorded> scans = recorded_scans();
  REQUIRE(scans.size() > 50);
  for (const Recorded& want : scans) {
    CAPTURE(want.name);
    const NiftiScan scan = read_nifti(golden_path("nifti/" + want.name + ".nii"));
    CHECK(scan.non_finite == 0);
    CHECK(scan.header.geometry.size == std::array<int64_t, 3>{5, 4, 3});
    CHECK(same_bits(scan.volume.voxels, read_npy(golden_path("nifti/" + want.name + ".npy"))));
    for (size_t i = 0; i < 12; ++i) {
      CAPTURE(i);
      CHECK(scan.volume.geometry.voxel_to_world_mm.m[i / 4][i % 4] == want.affine.m[i / 4][i % 4]);
    }
    CHECK(read_nifti_header(golden_path("nifti/" + want.name + ".nii")).geometry.voxel_to_world_mm.m ==
          scan.volume.geometry.voxel_to_world_mm.m);
  }
}

TEST_CASE("a scan whose forms agree keeps its grid, affine, codes, spacing and units through a mask") {
  const TempDir folder;
  const Tensor mask = counting<uint8_t>({5, 4, 3}, DType::u8, 2);
  int kept = 0;
  for (const Recorded& source : recorded_scans()) {
    CAPTURE(source.name);
    const NiftiHeader want = read_nifti_header(golden_path("nifti/" + source.name + ".nii"));
    write_nifti(folder / "mask.nii", mask, want);
    const NiftiHeader got = read_nifti_header(folder / "mask.nii");
    CHECK(got.geometry.size == want.geometry.size);
    CHECK(got.version == want.version);
    CHECK(got.units == want.units);
    CHECK(got.description == want.description);
    CHECK(std::string(name_of_nifti_type(got.datatype)) == "uint8");
    const bool has_odd_fields = source.name == "spacing_negative" || source.name.find("unknown") != std::string::npos ||
                                source.name == "one_volume_4d_time_step";
    if (!want.warnings.empty() || has_odd_fields) continue;  // made to agree: test_nifti_geometry.cpp
    ++kept;
    CHECK(got.geometry.voxel_to_world_mm.m == want.geometry.voxel_to_world_mm.m);
    CHECK(got.pixdim == want.pixdim);
    CHECK(got.qform_code == want.qform_code);
    CHECK(got.sform_code == want.sform_code);
    CHECK(got.quaternion == want.quaternion);
    CHECK(got.offset == want.offset);
    CHECK(got.srow == want.srow);
  }
  CHECK(kept > 30);
}

TEST_CASE("voxels written as u8, boolean, i32 and f32 read back the same, plain and compressed") {
  const TempDir folder;
  const NiftiHeader like = header_for(oblique({37, 21, 83}));
  const Shape shape{37, 21, 83};
  Tensor flags(shape, DType::boolean);
  for (int64_t i = 0; i < flags.numel(); ++i) flags.data<bool>()[i] = i % 3 == 0;
  for (const Tensor& voxels : {counting<uint8_t>(shape, DType::u8, 251), flags,
                               counting<int32_t>(shape, DType::i32, 100003), field("voxels", shape, 1000)}) {
    for (const char* name : {"scan.nii", "scan.nii.gz", "SCAN.NII.GZ"}) {
      CAPTURE(name);
      write_nifti(folder / name, voxels, like);
      const NiftiScan scan = read_nifti(folder / name);
      CHECK(mismatch(scan.volume.voxels, voxels, {}) == "");
    }
  }
  CHECK(entries(folder.path()) == 3);
}

TEST_CASE("a mask is written from its bits with the bytes of the unpacked volume") {
  const TempDir folder;
  const std::array<int64_t, 3> size{41, 23, 87};
  BitMasks masks(size, 6);
  for (int64_t h = 0; h < size[0]; ++h) {
    for (int64_t w = 0; w < size[1]; ++w) {
      for (int64_t d = 0; d < size[2]; ++d) {
        if ((h * 7 + w * 5 + d * 3) % 11 < 4) masks.set(1, h, w, d);
        if (h > 17 && h < 36 && w > 3 && w < 9 && d > 40 && d < 61) masks.set(2, h, w, d);
        masks.set(3, h, w, d);
      }
    }
  }
  masks.set(4, 0, 0, 0);
  masks.set(5, 40, 22, 86);
  const NiftiHeader like = header_for(oblique(size));
  for (int64_t prompt = 0; prompt < 6; ++prompt) {
    CAPTURE(prompt);
    for (const char* extension : {".nii", ".nii.gz"}) {
      const std::string bits = folder / ("bits" + std::string(extension)),
                        whole = folder / ("w" + std::string(extension));
      write_nifti(whole, masks.unpack(prompt), like);
      for (int threads : {1, 4}) {
        Context context({threads, 0, best_cpu_level(), {}});
        const UseContext use(context);
        write_nifti_mask(bits, masks, prompt, like);
        const bool same = read_text(bits) == read_text(whole);
        CHECK(same);
      }
    }
  }
  CHECK_THROWS_WITH_AS(write_nifti_mask(folder / "x.nii", masks, 0, header_for(oblique({41, 23, 86}))),
                       doctest::Contains("masks are [41, 23, 87], the grid is [41, 23, 86]"), Error);
  CHECK_THROWS_AS(write_nifti_mask(folder / "x.nii", masks, 6, like), Error);
}

TEST_CASE("the bytes written depend neither on the number of threads nor on time") {
  const TempDir folder;
  const NiftiHeader like = header_for(oblique({64, 60, 150}));
  const Tensor voxels = counting<int32_t>({64, 60, 150}, DType::i32, 1009);
  std::string first;
  for (int threads : {1, 2, 3, 4, 8}) {
    Context context({threads, 0, best_cpu_level(), {}});
    const UseContext use(context);
    write_nifti(folder / "labels.nii.gz", voxels, like);
    const std::string bytes = read_text(folder / "labels.nii.gz");
    if (first.empty()) first = bytes;
    CHECK(bytes == first);
    CHECK(mismatch(read_nifti(folder / "labels.nii.gz").volume.voxels, voxels, {}) == "");
  }
  CHECK(first.substr(0, 10) == std::string("\x1F\x8B\x08\0\0\0\0\0\0\xFF", 10));
}

TEST_CASE("reading a scan needs little more memory than its voxels") {
  const TempDir folder;
  const Shape shape{160, 150, 200};
  write_nifti(folder / "scan.nii.gz", counting<int32_t>(shape, DType::i32, 1009), header_for(oblique({160, 150, 200})),
              {1});
  Context context({2, 0, best_cpu_level(), {}});
  const UseContext use(context);
  const NiftiScan scan = read_nifti(folder / "scan.nii.gz");
  CHECK(context.memory()->peak_bytes() <= scan.volume.voxels.bytes() + (9 << 20));
}

TEST_CASE("NaN and infinite voxels are kept and counted") {
  const TempDir folder;
  Tensor voxels = field("voxels", {3, 4, 5}, 1);
  voxels.data<float>()[7] = std::numeric_limits<float>::quiet_NaN();
  voxels.data<float>()[11] = std::numeric_limits<float>::infinity();
  voxels.data<float>()[13] = -std::numeric_limits<float>::infinity();
  write_nifti(folder / "scan.nii", voxels, header_for(oblique({3, 4, 5})));
  const NiftiScan scan = read_nifti(folder / "scan.nii");
  CHECK(scan.non_finite == 3);
  CHECK(same_bits(scan.volume.voxels, voxels));
}

TEST_CASE("a header made for a grid gives the grid back by its sform and by its qform") {
  const TempDir folder;
  for (int mirrored = 0; mirrored < 2; ++mirrored) {
    for (int half_turn = 0; half_turn < 4; ++half_turn) {
      CAPTURE(mirrored);
      CAPTURE(half_turn);
      Geometry grid = oblique({3, 4, 5});
      if (half_turn > 0) {  // turned by 180 degrees about each axis: the quaternion's scalar part vanishes
        grid.voxel_to_world_mm = {};
        for (size_t i = 0; i < 3; ++i) grid.voxel_to_world_mm.m[i][i] = int(i) == half_turn - 1 ? 2 : -2;
      }
      if (mirrored) {
        for (size_t i = 0; i < 3; ++i) grid.voxel_to_world_mm.m[i][0] *= -1;
      }
      NiftiHeader header = header_for(grid);
      CHECK(header.sform_code == 2);
      CHECK(header.qform_code == 2);
      for (int sform_code : {2, 0}) {
        header.sform_code = sform_code;
        write_nifti(folder / "grid.nii", counting<uint8_t>({3, 4, 5}, DType::u8, 2), header);
        const Affine got = read_nifti_header(folder / "grid.nii").geometry.voxel_to_world_mm;
        for (size_t i = 0; i < 12; ++i) {
          const double want = grid.voxel_to_world_mm.m[i / 4][i % 4];
          CHECK(std::fabs(got.m[i / 4][i % 4] - want) <= (sform_code ? 1e-7 : 2e-6) * std::fmax(1, std::fabs(want)));
        }
      }
    }
  }
}

TEST_CASE("a sheared grid is written with a sform only") {
  Geometry grid = oblique({3, 4, 5});
  grid.voxel_to_world_mm.m[0][2] = 0.5;
  const NiftiHeader header = header_for(grid);
  CHECK(header.qform_code == 0);
  CHECK(header.sform_code == 2);
}

TEST_CASE("a grid too long for NIfTI-1 is written as NIfTI-2") {
  const TempDir folder;
  const NiftiHeader like = header_for(oblique({40000, 1, 2}));
  write_nifti(folder / "long.nii.gz", counting<uint8_t>({40000, 1, 2}, DType::u8, 255), like);
  const NiftiScan scan = read_nifti(folder / "long.nii.gz");
  CHECK(scan.header.version == 2);
  CHECK(scan.header.geometry.size[0] == 40000);
  CHECK(mismatch(scan.volume.voxels, counting<uint8_t>({40000, 1, 2}, DType::u8, 255), {}) == "");
}

TEST_CASE("a pair of .hdr and .img reads from either name") {
  const TempDir folder;
  const Tensor voxels = counting<int32_t>({3, 4, 5}, DType::i32, 1009);
  write_nifti(folder / "whole.nii", voxels, header_for(oblique({3, 4, 5})));
  std::string bytes = read_text(folder / "whole.nii");
  bytes.replace(344, 4, "ni1\0", 4);
  bytes.replace(108, 4, 4, '\0');  // voxels start the second file
  write_file_atomically(folder / "pair.hdr", bytes.substr(0, 348));
  write_file_atomically(folder / "pair.img", bytes.substr(352));
  CHECK(mismatch(read_nifti(folder / "pair.hdr").volume.voxels, voxels, {}) == "");
  CHECK(mismatch(read_nifti(folder / "pair.img").volume.voxels, voxels, {}) == "");
}

TEST_CASE("header extensions before the voxels are skipped, and a description survives") {
  const TempDir folder;
  NiftiHeader like = header_for(oblique({3, 4, 5}));
  like.description = std::string(100, 'd');
  const Tensor voxels = field("voxels", {3, 4, 5}, 1);
  write_nifti(folder / "scan.nii", voxels, like);
  std::string bytes = read_text(folder / "scan.nii");
  const float offset = 352 + 4096;
  std::memcpy(&bytes[108], &offset, 4);
  bytes[348] = 1;
  bytes.insert(352, std::string(4096, 'x'));
  write_file_atomically(folder / "extended.nii", bytes);
  const NiftiScan scan = read_nifti(folder / "extended.nii");
  CHECK(same_bits(scan.volume.voxels, voxels));
  CHECK(scan.header.description == std::string(79, 'd'));
}

TEST_CASE("writing refuses a wrong shape, type, name or place, and leaves no file behind") {
  const TempDir folder;
  const NiftiHeader like = header_for(oblique({3, 4, 5}));
  const Tensor good = counting<uint8_t>({3, 4, 5}, DType::u8, 2);
  CHECK_THROWS_AS(write_nifti(folder / "a.nii", counting<uint8_t>({3, 5, 4}, DType::u8, 2), like), Error);
  CHECK_THROWS_AS(write_nifti(folder / "a.nii", counting<int64_t>({3, 4, 5}, DType::i64, 2), like), Error);
  CHECK_THROWS_AS(write_nifti(folder / "a.nrrd", good, like), Error);
  CHECK_THROWS_AS(write_nifti(folder / ".nii", good, like), Error);
  CHECK_THROWS_AS(write_nifti(folder / "a.nii.gz", good, like, {0}), Error);
  CHECK_THROWS_AS(write_nifti(folder / "absent/a.nii", good, like), Error);
  CHECK(entries(folder.path()) == 0);
}

}  // namespace
}  // namespace sat
