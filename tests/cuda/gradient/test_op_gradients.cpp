// The gradients of the table of ops (tests/support/op_rows) on the device, in f32.
#include <doctest/doctest.h>

#include "tests/cuda/device_context.h"
#include "tests/support/op_rows/op_rows.h"

using namespace sat;
using namespace sat::test;

TEST_CASE("every op of the table has its definition's gradient on the device") {
  const DeviceContext device(Precision::exact);
  for (const std::string& complaint : gradient_complaints(Context::current())) FAIL_CHECK(complaint);
}
