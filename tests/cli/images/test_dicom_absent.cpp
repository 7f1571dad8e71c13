// A program built without DCMTK knows a DICOM file, and says what it would need.
#include <doctest/doctest.h>

#include "examples/sat/images/load_image.h"
#include "sat/io/files/file.h"
#include "tests/support/golden.h"
#include "tests/support/images/dicom_bytes.h"

namespace sat::cli {
namespace {

using namespace test;

TEST_CASE("DICOM is refused with the option that it needs, also where it begins as a TIFF does") {
  CHECK_FALSE(reads_dicom());
  DicomImage image;
  image.pixels = wide_pixels({7});
  const TempDir folder;
  std::string bytes = image.bytes();
  for (int i = 0; i < 2; ++i) {
    write_file_atomically(folder / "scan.dcm", bytes);
    CHECK_THROWS_WITH_AS(load_image(folder / "scan.dcm"),
                         (folder / "scan.dcm: a DICOM file, which this program was built without; build it with "
                                   "-DSAT_DICOM=ON, which needs DCMTK")
                             .c_str(),
                         Error);
    bytes.replace(0, 4, std::string("II*\0", 4));
  }
}

}  // namespace
}  // namespace sat::cli
