// What the program is told of devices on its command line.
#include <doctest/doctest.h>

#include "tests/support/program.h"

using namespace sat;
using namespace sat::test;

TEST_CASE("a way to convolve that no device has is refused with the names of those there are") {
  const Ran ran =
      sat_run({"segment", "scan.nii.gz", "--prompts", "liver", "--modality", "ct", "-o", "out", "--conv", "fft"});
  CHECK(ran.status != 0);
  CHECK(contains(ran.err,
                 "unknown convolution 'fft'; it is one of automatic, plain, tiled, mma, composed, wgmma, cudnn"));
}

TEST_CASE("the help says how to keep a device from wgmma") {
  const Ran ran = sat_run({"segment", "--help"});
  CHECK(ran.status == 0);
  CHECK(contains(ran.out, "--conv VARIANT"));
  CHECK(contains(ran.out, "wgmma on sm_90 if it passes its self-test"));
}
