// What a user is told of a GPU that the build has no machine code for.
#include <doctest/doctest.h>

#include "sat/cuda/device/device.h"

using sat::cuda::remark_on_code;

TEST_CASE("nothing is said of a device whose machine code is in the build") {
  for (int arch : {80, 86, 89, 90}) {
    CAPTURE(arch);
    CHECK(remark_on_code(arch, "80 90a") == "");
  }
  CHECK(remark_on_code(100, "80 90a 100f 120f") == "");
  CHECK(remark_on_code(103, "80 90a 100f 120f") == "");
  CHECK(remark_on_code(121, "80-real 120f") == "");
}

TEST_CASE("a device of another family is said to run translated PTX of sm_80") {
  for (int arch : {100, 103, 120}) {
    CAPTURE(arch);
    const std::string remark = remark_on_code(arch, "80 90a");
    CHECK(remark.find("no machine code for sm_" + std::to_string(arch)) != std::string::npos);
    CHECK(remark.find("PTX of sm_80") != std::string::npos);
  }
  CHECK(remark_on_code(120, "80 90a 100f") != "");
  CHECK(remark_on_code(90, "80-virtual 90a-virtual") != "");  // an emulator's build
  CHECK(remark_on_code(80, "86") != "");
}
