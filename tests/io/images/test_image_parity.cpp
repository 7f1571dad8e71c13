// Radiographs become the published processor's input to the bit.
#include <doctest/doctest.h>

#include "tests/support/golden.h"
#include "tests/support/parity/image_parity.h"

namespace sat::test {
namespace {

TEST_CASE("every recorded preparation of RAD-DINO comes out") {
  const std::vector<ParityLine> lines = compare_rad_dino_preprocess(golden_path("rad-dino/preprocess"));
  CHECK(lines.size() == 15 * 8);
  for (const ParityLine& line : lines) {
    CAPTURE(line.quantity);
    CAPTURE(line.error);
    CHECK(line.passed());
  }
}

}  // namespace
}  // namespace sat::test
