// NIfTI-1 and NIfTI-2 scans: reading voxels as f32 with their place in the patient, and writing masks beside them.
// Knows the format and the reference's choice of affine; not orientation or spacing changes (preprocess.h).
// docs/scans.md tells the rules by which a scan's geometry is decided.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "sat/io/masks/bit_masks.h"
#include "sat/io/scans/volume.h"

namespace sat {

/// The three places of a header that say where its voxels lie. `automatic` follows the reference (below).
enum class NiftiForm : uint8_t { automatic, sform, qform, pixdim };
const char* name_of(NiftiForm form);                  // "auto", "sform", "qform" or "pixdim"
NiftiForm parse_nifti_form(const std::string& name);  // throws Error for another name

/// What a file says of its grid and units, kept so that a result can be written onto the same grid. `geometry` is how
/// the file is understood; the fields below `warnings` are as stored, but for lengths, which are millimetres here.
struct NiftiHeader {
  Geometry geometry;
  NiftiForm form = NiftiForm::sform;             // whose geometry that is; never automatic
  bool orientation_known = true;                 // false where only pixdim speaks: left and right are a guess
  std::vector<std::string> warnings;             // what is odd or contradictory, and what was made of it
  int version = 1;                               // of the format, 1 or 2
  int datatype = 16;                             // of the file's voxels, a NIfTI code; name_of_nifti_type() names it
  double slope = 0, inter = 0;                   // value = slope * stored + inter; slope 0 or not finite: unscaled
  std::array<double, 4> pixdim{1, 1, 1, 1};      // qfac (1 or -1), then the spacing along H, W, D
  int qform_code = 0, sform_code = 0;            // 0 unknown, 1 scanner, 2 aligned, 3 Talairach, 4 MNI, 5 template
  std::array<double, 3> quaternion{}, offset{};  // of the qform
  std::array<std::array<double, 4>, 3> srow{};   // rows of the sform
  int units = 2;                                 // xyzt_units, after conversion: 2 millimetres, 0 unknown
  std::string description;                       // up to 79 bytes
};

/// A scan as read. Voxels that are NaN or infinite are left as they are, and counted.
struct NiftiScan {
  Volume volume;
  NiftiHeader header;
  int64_t non_finite = 0;
};

struct NiftiReadOptions {
  NiftiForm geometry = NiftiForm::automatic;  // a form that is asked for is used even where its code is 0
};

/// "int16", "float32", "RGB24", ...; "unknown" for a code that NIfTI does not define.
const char* name_of_nifti_type(int datatype);

/// Only the header of a .nii, .nii.gz or .hdr/.img scan, checked as fully as can be done without its voxels.
NiftiHeader read_nifti_header(const std::string& path, const NiftiReadOptions& options = {});

/// The scan with voxels f32 [H, W, D], axis 0 being the file's first (fastest) axis.
///   accepted   both byte orders; integers of 8 to 64 bits, float32, float64; further axes of size 1; with a warning,
///              as nibabel and ITK do, a wrong bitpix and bytes after the compressed data
///   values     the raw number, or slope * raw + inter in double, then rounded to f32
///   geometry   the sform if its code is 1 to 5, else the qform if its code is, else spacing about the centre with x
///              mirrored (orientation unknown). Where the sform's spacing contradicts pixdim and the qform's does not,
///              the qform stands in for it (spec h.1), unless pixdim was never filled in: it holds a 0, or only ones
///              and the qform's code is 0. Everything that disagrees is in the header's warnings
///   units      metres and micrometres become millimetres, unless only the bare numbers can be a scan's; either way
///              there is a warning
///   memory     the result and a slab of at most 8 MB or one slice; the file is read, never mapped
/// Throws Error naming the file for anything damaged, truncated, inconsistent, complex, coloured, with more than one
/// volume, or with voxels outside 0.001 .. 1000 mm; a file of another kind is named for what it is.
NiftiScan read_nifti(const std::string& path, const NiftiReadOptions& options = {});

/// Reads a mask file into prompt `prompt` of masks of the same size: every voxel that is not 0 is set. Throws Error as
/// read_nifti() does, and when the grid has another size. Memory: a slab as there.
void read_nifti_mask(const std::string& path, BitMasks& masks, int64_t prompt);

/// The files that make up a scan: the path itself, or header and image of a pair, in this order.
std::vector<std::string> nifti_files(const std::string& path);

struct NiftiWriteOptions {
  int gzip_level = 4;  // 1 fastest to 9 smallest; voxels of one byte are packed as runs, where levels differ little
};

/// Writes voxels u8, boolean (as u8), i32 or f32 [H, W, D] onto the grid of `like`, as .nii or .nii.gz by the name:
/// one 3-D volume, unscaled, little-endian, with qform, sform, their codes, units and description as in `like`. Where
/// these do not all say like.geometry, they are made to: sform, qform and pixdim then agree, and a grid with shear has
/// no qform. The bytes depend on the arguments alone. The file appears complete or not at all.
void write_nifti(const std::string& path, const Tensor& voxels, const NiftiHeader& like,
                 const NiftiWriteOptions& options = {});

/// The same file as write_nifti() of masks.unpack(prompt), without that copy: work grows with the mask's bounding box.
void write_nifti_mask(const std::string& path, const BitMasks& masks, int64_t prompt, const NiftiHeader& like,
                      const NiftiWriteOptions& options = {});

/// A NIfTI-1 header for a grid that came from no file: sform "aligned", and the same qform if the axes are
/// perpendicular.
NiftiHeader header_for(const Geometry& geometry);

}  // namespace sat
