// Private to io: the fixed-size part of a NIfTI file, to and from bytes.
// Knows no voxels (nifti.cpp), and not what its forms mean (nifti_geometry.h).
#pragma once

#include <cstdint>
#include <string>

#include "sat/io/nifti/nifti.h"

namespace sat {

inline constexpr int64_t kNifti1Bytes = 348, kNifti2Bytes = 540;

/// A parsed header with what only the reader of voxels needs.
struct NiftiLayout {
  NiftiHeader header;
  bool swapped = false;  // the other byte order than this machine's
  bool pair = false;     // voxels are in the .img file
  int64_t voxel_offset = 0;
  int64_t voxel_bytes = 0;  // of all voxels; checked against overflow, not yet against the file
};

/// 348 or 540, from the first four bytes; 0 if they are neither, so that this is no NIfTI file.
int64_t nifti_header_bytes(const uint8_t* first_four);

/// Parses and checks all nifti_header_bytes() bytes.
NiftiLayout parse_nifti_header(const uint8_t* bytes, const std::string& path, const NiftiReadOptions& options);

/// Bytes of one voxel; throws Error naming the type for one that is not a real number of 8 to 64 bits.
int64_t nifti_type_bytes(int datatype, const std::string& path);

/// The bytes before the voxels of a single-file NIfTI of this type: header, made to agree with its geometry where it
/// does not, and an empty extension flag.
std::string format_nifti_header(const NiftiHeader& header, int datatype);

}  // namespace sat
