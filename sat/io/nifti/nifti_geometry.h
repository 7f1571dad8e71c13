// Private to io: what the three forms of a NIfTI header (sform, qform, pixdim) mean, which of them is believed, and how
// a header is written so that every reader believes the same. Knows no bytes (nifti_header.cpp).
#pragma once

#include <string>

#include "sat/io/nifti/nifti.h"

namespace sat {

/// Decides where the voxels lie, from the stored fields of `h`: sets its geometry's affine, form and orientation_known,
/// turns lengths into millimetres, and adds warnings about what disagrees.
///   axes, time_step   dim[0] and pixdim[4], on which the reference's repair depends
/// Throws Error naming the path where the form that is to be used says nothing, or no scan can be like that.
void choose_geometry(NiftiHeader& h, int axes, double time_step, NiftiForm asked, const std::string& path);

/// The header to write for h.geometry: `h` itself where every reader finds that geometry in it, else one whose sform,
/// qform and pixdim all say it.
NiftiHeader agreeing_header(const NiftiHeader& h);

}  // namespace sat
