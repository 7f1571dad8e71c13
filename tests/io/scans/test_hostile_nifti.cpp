// Malformed scans are refused promptly, by name, and without memory.
#include <doctest/doctest.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>

#include "sat/io/files/file.h"
#include "sat/io/nifti/nifti.h"
#include "sat/tensor/context.h"
#include "sat/tensor/memory/memory.h"
#include "tests/support/golden.h"

namespace sat {
namespace {

using namespace test;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

struct Hostile {
  std::string name, bytes;
  std::string file = "scan.nii";
};

template <class T>
std::string with(std::string bytes, size_t at, T value) {
  std::memcpy(&bytes.at(at), &value, sizeof(T));
  return bytes;
}

std::string text(std::string bytes, size_t at, const std::string& value) {
  return bytes.replace(at, value.size(), value);
}

/// Without the sync of an AtomicFile, which some hundred times over would be all that this test does.
void put(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), std::streamsize(bytes.size()));
}

/// A good scan of 6 x 5 x 4 i32 voxels, as NIfTI-1 or -2.
std::string good_scan(int version) {
  const TempDir folder;
  Geometry grid;
  grid.size = {6, 5, 4};
  NiftiHeader header = header_for(grid);
  header.version = version;
  write_nifti(folder / "x.nii", zeros({6, 5, 4}, DType::i32), header);
  return read_text(folder / "x.nii");
}

void add_truncations(std::vector<Hostile>& all, const std::string& one, const std::string& two) {
  for (size_t length : {0, 1, 2, 3, 4, 40, 107, 344, 347, 348, 351, 352, 353, 400, 831}) {
    all.push_back({"NIfTI-1 cut to " + std::to_string(length), one.substr(0, length)});
  }
  for (size_t length : {4, 12, 348, 539, 540, 543, 544, 1023}) {
    all.push_back({"NIfTI-2 cut to " + std::to_string(length), two.substr(0, length)});
  }
  const std::string packed = gzip_of(one);
  for (size_t length :
       {size_t(2), size_t(9), size_t(10), size_t(11), packed.size() / 2, packed.size() - 8, packed.size() - 1}) {
    all.push_back({"gzip cut to " + std::to_string(length), packed.substr(0, length)});
  }
  for (size_t length : {0, 3, 347, 352, 831}) {
    all.push_back({"gzip of a scan cut to " + std::to_string(length), gzip_of(one.substr(0, length)), "scan.nii.gz"});
  }
}

void add_identity(std::vector<Hostile>& all, const std::string& one, const std::string& two) {
  all.push_back({"other bytes", std::string(1000, 'x')});
  all.push_back({"zeros", std::string(1000, '\0')});
  all.push_back({"a text", "This is not a scan, whatever its name says.\n"});
  for (int32_t size : {0, -1, 347, 349, 352, 541, 1543569408}) {
    all.push_back({"sizeof_hdr " + std::to_string(size), with(one, 0, size)});
  }
  all.push_back({"NIfTI-1 that says it is NIfTI-2", with(one, 0, int32_t(540))});
  all.push_back({"NIfTI-2 that says it is NIfTI-1", with(two, 0, int32_t(348))});
  all.push_back({"only the first field in the other byte order", text(one, 0, std::string("\0\0\x01\x5C", 4))});
  all.push_back(
      {"NIfTI-2, only the first field in the other byte order", text(two, 0, std::string("\0\0\x02\x1C", 4))});
  for (const std::string& magic : {std::string(4, '\0'), std::string("n+2\0", 4), std::string("N+1\0", 4),
                                   std::string("n-1\0", 4), std::string("n+1 ", 4)}) {
    all.push_back({"magic " + magic, text(one, 344, magic)});
  }
  all.push_back({"magic of a pair in a single file", text(one, 344, std::string("ni1\0", 4))});
  all.push_back({"a pair without its .img", text(one, 344, std::string("ni1\0", 4)), "alone.hdr"});
  all.push_back({"an .img without its .hdr", one, "alone.img"});
  all.push_back({"NIfTI-2 after a text-mode transfer", text(two, 8, "\n\x1A\n\n")});
}

void add_sizes(std::vector<Hostile>& all, const std::string& one, const std::string& two) {
  for (int16_t axes : {-1, 0, 1, 2, 8, 32767}) {
    all.push_back({"dim[0] " + std::to_string(axes), with(one, 40, axes)});
  }
  for (size_t axis : {1u, 2u, 3u}) {
    for (int16_t size : {-32768, -1, 0, 7, 32767}) {
      all.push_back({"dim[" + std::to_string(axis) + "] " + std::to_string(size), with(one, 40 + 2 * axis, size)});
    }
    for (int64_t size : {std::numeric_limits<int64_t>::min(), int64_t(-1), int64_t(0), int64_t(1) << 40,
                         int64_t(1) << 61, std::numeric_limits<int64_t>::max()}) {
      all.push_back(
          {"NIfTI-2 dim[" + std::to_string(axis) + "] " + std::to_string(size), with(two, 16 + 8 * axis, size)});
    }
  }
  std::string all_large = one, all_huge = two, overflowing = two;
  for (size_t axis : {1u, 2u, 3u}) {
    all_large = with(all_large, 40 + 2 * axis, int16_t(32767));
    all_huge = with(all_huge, 16 + 8 * axis, std::numeric_limits<int64_t>::max());
    overflowing = with(overflowing, 16 + 8 * axis, int64_t(1) << 21);  // times four bytes: 2^65, which wraps to 0
  }
  all.push_back({"every size 32767", all_large});
  all.push_back({"every size 32767, compressed", gzip_of(all_large), "scan.nii.gz"});
  all.push_back({"every size 2^63 - 1", all_huge});
  all.push_back({"sizes whose product wraps", overflowing});
  all.push_back({"many volumes", with(with(one, 40, int16_t(4)), 48, int16_t(2))});
  all.push_back({"no volume", with(with(one, 40, int16_t(4)), 48, int16_t(0))});
  all.push_back({"colour channels as a fifth axis", with(with(one, 40, int16_t(5)), 50, int16_t(3))});
}

void add_types_and_offsets(std::vector<Hostile>& all, const std::string& one, const std::string& two) {
  for (int16_t type : {0, 1, 3, 32, 128, 1536, 1792, 2048, 2304, 255, -1}) {
    all.push_back({"datatype " + std::to_string(type), with(one, 70, type)});
  }
  all.push_back({"datatype float64 in a file of 32-bit voxels", with(with(one, 70, int16_t(64)), 72, int16_t(64))});
  for (double offset : {-1.0, 0.0, 1.0, 348.0, 351.0, 352.5, 353.0, 832.0, 1e9, 1e30, -1e30, kNaN, kInf, -kInf}) {
    all.push_back({"vox_offset " + std::to_string(offset), with(one, 108, float(offset))});
  }
  for (int64_t offset : {std::numeric_limits<int64_t>::min(), int64_t(-1), int64_t(0), int64_t(543), int64_t(545),
                         int64_t(1) << 53, std::numeric_limits<int64_t>::max()}) {
    all.push_back({"NIfTI-2 vox_offset " + std::to_string(offset), with(two, 168, offset)});
  }
  all.push_back({"vox_offset beyond a compressed file", gzip_of(with(one, 108, 1e6f)), "scan.nii.gz"});
  for (double inter : {kNaN, kInf, -kInf}) {
    all.push_back({"scl_inter " + std::to_string(inter), with(one, 116, float(inter))});
  }
}

void add_affines(std::vector<Hostile>& all, const std::string& one) {
  const std::string no_qform = with(one, 256, 2.0f);  // its quaternion is too long, so it cannot stand in
  const std::string flat =
      with(no_qform, 280, 0.0f);  // the sform's first row has no voxel axis, its spacing is pixdim 1
  all.push_back({"sform with an empty row", with(flat, 84, 1.0f)});
  std::string parallel = with(with(no_qform, 280, 0.6f), 300, 0.0f);
  parallel = with(with(parallel, 296, 0.8f), 284, 0.6f);
  all.push_back({"sform with two parallel axes", with(parallel, 300, 0.8f)});
  for (double value : {kNaN, kInf, -kInf}) {
    all.push_back({"sform with " + std::to_string(value), with(no_qform, 280, float(value))});
    all.push_back({"sform translation " + std::to_string(value), with(no_qform, 292, float(value))});
    const std::string qform = with(one, 254, int16_t(0));
    all.push_back({"qform offset " + std::to_string(value), with(qform, 268, float(value))});
    all.push_back({"qform quaternion " + std::to_string(value), with(qform, 256, float(value))});
    all.push_back({"qform spacing " + std::to_string(value), with(qform, 80, float(value))});
    all.push_back({"no form, spacing " + std::to_string(value), with(with(qform, 252, int16_t(0)), 80, float(value))});
  }
  for (float spacing : {1.2e-38f, 1e-4f, 2000.0f, 1e30f}) {
    const std::string forms = with(with(one, 254, int16_t(0)), 80, spacing);
    all.push_back({"voxels of " + std::to_string(spacing) + " mm", forms});
  }
  all.push_back({"qform quaternion longer than 1", with(with(one, 254, int16_t(0)), 256, 1.01f)});
}

void add_gzip(std::vector<Hostile>& all, const std::string& one) {
  const std::string packed = gzip_of(one);
  for (size_t at : {2u, 3u, 10u, 14u, 40u}) {
    std::string bad = packed;
    bad[at] = char(bad[at] ^ 0xFF);
    all.push_back({"gzip byte " + std::to_string(at) + " inverted", bad});
  }
  for (size_t back : {1u, 8u}) {
    std::string bad = packed;
    bad[bad.size() - back] ^= 1;
    all.push_back({"gzip trailer damaged", bad});
  }
  all.push_back({"half a second gzip member", packed + packed.substr(0, 40)});
  all.push_back({"gzip in gzip", gzip_of(packed)});
  const std::string bomb = gzip_of(std::string(8 << 20, '\0'));
  all.push_back({"a bomb of zeros", bomb});
  all.push_back({"a bomb after the voxels", packed + bomb});
  const std::string large = with(with(with(one, 42, int16_t(800)), 44, int16_t(800)), 46, int16_t(800));
  all.push_back({"a header that claims 2 GB, then a bomb", gzip_of(large) + bomb});
}

std::vector<Hostile> hostile_scans() {
  const std::string one = good_scan(1), two = good_scan(2);
  std::vector<Hostile> all;
  add_truncations(all, one, two);
  add_identity(all, one, two);
  add_sizes(all, one, two);
  add_types_and_offsets(all, one, two);
  add_affines(all, one);
  add_gzip(all, one);
  return all;
}

TEST_CASE("every malformed scan is refused by name, within a second and a megabyte") {
  const std::vector<Hostile> all = hostile_scans();
  REQUIRE(all.size() >= 150);
  for (const Hostile& hostile : all) {
    CAPTURE(hostile.name);
    const TempDir folder;
    put(folder / hostile.file, hostile.bytes);
    Context context({1, 0, best_cpu_level(), {}});
    const UseContext use(context);
    const auto start = std::chrono::steady_clock::now();
    std::string message = "accepted";
    try {
      read_nifti(folder / hostile.file);
    } catch (const Error& error) {
      message = error.what();
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    CAPTURE(message);
    CHECK(message.find(folder.path()) != std::string::npos);
    CHECK(seconds.count() < 1);
    CHECK(context.memory()->peak_bytes() <= 1 << 20);
  }
}

TEST_CASE("the header alone of any malformed scan is read or refused, never worse") {
  int refused = 0;
  for (const Hostile& hostile : hostile_scans()) {
    CAPTURE(hostile.name);
    const TempDir folder;
    put(folder / hostile.file, hostile.bytes);
    try {
      const NiftiHeader header = read_nifti_header(folder / hostile.file);
      CHECK(header.geometry.voxels() > 0);
    } catch (const Error& error) {
      CHECK(std::string(error.what()).find(folder.path()) != std::string::npos);
      ++refused;
    }
  }
  CHECK(refused >= 120);
}

TEST_CASE("the scans that the malformed ones are made from are good") {
  const TempDir folder;
  for (int version : {1, 2}) {
    const std::string bytes = good_scan(version);
    for (const std::string& variant : {bytes, gzip_of(bytes), bytes + "more", gzip_of(bytes) + std::string(99, '\0')}) {
      put(folder / "scan.nii", variant);
      CHECK(read_nifti(folder / "scan.nii").volume.voxels.numel() == 120);
    }
  }
}

TEST_CASE("a wrong bitpix and bytes after the compressed data are read over with a warning") {
  const TempDir folder;
  const std::string one = good_scan(1);
  for (int16_t bits : {8, 16, 64, -32, 1}) {
    put(folder / "scan.nii", with(one, 72, bits));
    const NiftiScan scan = read_nifti(folder / "scan.nii");
    CHECK(scan.volume.voxels.numel() == 120);
    REQUIRE(scan.header.warnings.size() == 1);
    CHECK(scan.header.warnings[0] ==
          "bitpix is " + std::to_string(bits) + ", but int32 has 32 bits; the type was believed");
  }
  put(folder / "scan.nii.gz", gzip_of(one) + std::string(10, '\0') + "garbage");
  const NiftiScan scan = read_nifti(folder / "scan.nii.gz");
  CHECK(scan.volume.voxels.numel() == 120);
  REQUIRE(scan.header.warnings.size() == 1);
  CHECK(scan.header.warnings[0] == "17 bytes that are not gzip follow the compressed data; they were left out");
  put(folder / "scan.nii.gz", gzip_of(one));
  CHECK(read_nifti(folder / "scan.nii.gz").header.warnings.empty());
}

TEST_CASE("a message says what came and what would have fitted") {
  const TempDir folder;
  const std::string one = good_scan(1);
  const auto message_for = [&](const std::string& bytes) {
    put(folder / "scan.nii", bytes);
    try {
      read_nifti(folder / "scan.nii");
    } catch (const Error& error) {
      return std::string(error.what()).substr((folder / "scan.nii").size());
    }
    return std::string("accepted");
  };
  CHECK(message_for(one.substr(0, 831)) == ": truncated: the voxels need 480 bytes, the file has only 479");
  CHECK(message_for(with(one, 44, int16_t(-5))) == ": dim[2] is -5, needs at least 1");
  CHECK(message_for(with(one, 70, int16_t(128))) ==
        ": voxels of type RGB24 (code 128) are not supported; needed are integers of 8 to 64 bits, float32 or float64");
  CHECK(message_for(with(with(one, 40, int16_t(4)), 48, int16_t(3))) ==
        ": it holds more than one volume: dim[4] is 3, needs 1; the grid is 6 x 5 x 4");
}

}  // namespace
}  // namespace sat
