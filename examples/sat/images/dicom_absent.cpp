// In place of dicom_file.cpp in a program that is built without DCMTK: says so.
#include "examples/sat/images/decode.h"

namespace sat::cli {

bool reads_dicom() { return false; }

DecodedImage decode_dicom(const EncodedImage& file) {
  fail(file.path,
       ": a DICOM file, which this program was built without; build it with -DSAT_DICOM=ON, which needs DCMTK");
}

}  // namespace sat::cli
