// Fuzzes the NIfTI reader: header alone and whole scan, packed or not.
#include <cmath>

#include "sat/io/files/file.h"
#include "sat/io/nifti/nifti.h"
#include "tests/fuzz/fuzz.h"

using namespace sat;
using namespace sat::test;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t count) {
  const std::string path = input_file(is_gzip(bytes, int64_t(count)) ? "scan.nii.gz" : "scan.nii", bytes, count);
  return try_input([&] {
    const NiftiHeader header = read_nifti_header(path);
    const NiftiScan scan = read_nifti(path);
    must(scan.volume.geometry.size == header.geometry.size);
    must(scan.volume.voxels.numel() == scan.volume.geometry.voxels());
  });
}
