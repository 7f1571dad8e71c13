// NIfTI-1 and NIfTI-2 scans: reading voxels as f32 with their place in the patient, and writing masks beside them.
// Knows the format and the reference's choice of affine; not orientation or spacing changes (preprocess.h).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "sat/io/bit_masks.h"
#include "sat/io/volume.h"

namespace sat {

/// What a file says of its grid and units, kept so that a result can be written onto the same grid. `geometry` is how
/// the reference understands it (nibabel's affine after MONAI's repair); the fields below it are as stored.
struct NiftiHeader {
  Geometry geometry;
  int version = 1;                               // of the format, 1 or 2
  int datatype = 16;                             // of the file's voxels, a NIfTI code; name_of_nifti_type() names it
  double slope = 0, inter = 0;                   // value = slope * stored + inter; slope 0 or not finite: unscaled
  std::array<double, 4> pixdim{1, 1, 1, 1};      // qfac (1 or -1), then the spacing along H, W, D
  int qform_code = 0, sform_code = 0;            // 0 unknown, 1 scanner, 2 aligned, 3 Talairach, 4 MNI, 5 template
  std::array<double, 3> quaternion{}, offset{};  // of the qform
  std::array<std::array<double, 4>, 3> srow{};   // rows of the sform
  int units = 2;                                 // xyzt_units; kept but not applied: lengths are taken as millimetres
  std::string description;                       // up to 79 bytes
};

/// A scan as read. Voxels that are NaN or infinite are left as they are, and counted.
struct NiftiScan {
  Volume volume;
  NiftiHeader header;
  int64_t non_finite = 0;
};

/// "int16", "float32", "RGB24", ...; "unknown" for a code that NIfTI does not define.
const char* name_of_nifti_type(int datatype);

/// Only the header of a .nii, .nii.gz or .hdr/.img scan, checked as fully as can be done without its voxels.
NiftiHeader read_nifti_header(const std::string& path);

/// The scan with voxels f32 [H, W, D], axis 0 being the file's first (fastest) axis.
///   accepted   both byte orders; integers of 8 to 64 bits, float32, float64; further axes of size 1
///   values     the raw number, or slope * raw + inter in double, then rounded to f32
///   affine     sform if its code is above 0, else qform, else spacing about the centre with x mirrored; where the
///              sform's spacing contradicts pixdim and the qform's does not, the sform gives way (spec h.1)
///   memory     the result and a slab of at most 8 MB or one slice
/// Throws Error naming the file for anything damaged, truncated, inconsistent, complex, coloured, or with more than
/// one volume.
NiftiScan read_nifti(const std::string& path);

/// Reads a mask file into prompt `prompt` of masks of the same size: every voxel that is not 0 is set. Throws Error as
/// read_nifti() does, and when the grid has another size. Memory: a slab as there.
void read_nifti_mask(const std::string& path, const BitMasks& masks, int64_t prompt);

/// The files that make up a scan: the path itself, or header and image of a pair, in this order.
std::vector<std::string> nifti_files(const std::string& path);

struct NiftiWriteOptions {
  int gzip_level = 4;  // 1 fastest to 9 smallest; voxels of one byte are packed as runs, where levels differ little
};

/// Writes voxels u8, boolean (as u8), i32 or f32 [H, W, D] onto the grid of `like`, as .nii or .nii.gz by the name:
/// one 3-D volume, unscaled, little-endian, with qform, sform, their codes, units and description as in `like`. The
/// bytes depend on the arguments alone. The file appears complete or not at all.
void write_nifti(const std::string& path, const Tensor& voxels, const NiftiHeader& like,
                 const NiftiWriteOptions& options = {});

/// The same file as write_nifti() of masks.unpack(prompt), without that copy: work grows with the mask's bounding box.
void write_nifti_mask(const std::string& path, const BitMasks& masks, int64_t prompt, const NiftiHeader& like,
                      const NiftiWriteOptions& options = {});

/// A NIfTI-1 header for a grid that came from no file: sform "aligned", and the same qform if the axes are
/// perpendicular.
NiftiHeader header_for(const Geometry& geometry);

}  // namespace sat
