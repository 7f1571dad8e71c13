// NIfTI-1 files made byte by byte, with headers as careless programs leave them.
#pragma once

#include <array>
#include <cstring>
#include <string>

#include "sat/io/nifti/nifti.h"
#include "tests/support/golden.h"

namespace sat::test {

/// Where NIfTI-1 keeps its fields.
enum NiftiField : size_t {
  kDim = 40,
  kDatatype = 70,
  kBitpix = 72,
  kPixdim = 76,
  kUnits = 123,
  kQformCode = 252,
  kSformCode = 254,
  kQuaternion = 256,
  kQoffset = 268,
  kSrow = 280
};

template <class T>
void put(std::string& bytes, size_t at, T value) {
  std::memcpy(&bytes.at(at), &value, sizeof(T));
}

inline void put_pixdim(std::string& bytes, const std::array<float, 4>& pixdim) {
  for (size_t i = 0; i < 4; ++i) put(bytes, kPixdim + 4 * i, pixdim[i]);
}

inline void put_codes(std::string& bytes, int qform, int sform) {
  put(bytes, kQformCode, int16_t(qform));
  put(bytes, kSformCode, int16_t(sform));
}

inline void put_sform(std::string& bytes, const Affine& a) {
  for (size_t i = 0; i < 3; ++i) {
    for (size_t j = 0; j < 4; ++j) put(bytes, kSrow + 16 * i + 4 * j, float(a.m[i][j]));
  }
}

/// The uncompressed file of a scan.
inline std::string nifti_bytes(const Volume& scan) {
  const TempDir folder;
  write_nifti(folder / "x.nii", scan.voxels, header_for(scan.geometry));
  return read_text(folder / "x.nii");
}

}  // namespace sat::test
