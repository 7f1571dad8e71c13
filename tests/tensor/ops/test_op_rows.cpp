// The table of ops (tests/support/op_rows) on the CPU: every row on every level of this machine.
#include <doctest/doctest.h>

#include "tests/support/levels.h"
#include "tests/support/op_rows/op_rows.h"

using namespace sat;
using namespace sat::test;

TEST_CASE("every op follows its definition on every level, with the same bits for any number of threads") {
  Contexts contexts;
  for (const OpRow& row : op_rows()) {
    CAPTURE(row.name);
    const Tensors inputs = inputs_of(row);
    const Tensor want = defined_by(row);
    for (const CpuLevel level : levels()) {
      CAPTURE(std::string(name_of(level)));
      const auto computed = [&](int threads) {
        UseContext use(contexts.of(level, threads, row.on_tiles));
        return computed_by(row, inputs);
      };
      const Tensor alone = computed(1);
      CHECK(mismatch(alone, want, row.tolerance) == "");
      for (const int threads : {2, 3, 4, 8}) {
        if (row.on_tiles && level != best_cpu_level()) break;  // the same slow loops at every level
        CAPTURE(threads);
        CHECK(same_bits(computed(threads), alone));
      }
    }
  }
}

TEST_CASE("a row of another op, or of another input, is noticed") {
  OpRow row = op_rows().front();
  CHECK(mismatch(computed_by(row, inputs_of(row)), defined_by(row), row.tolerance) == "");
  Tensors inputs = inputs_of(row);
  inputs[0] = field("another", inputs[0].shape, 1);
  CHECK(mismatch(computed_by(row, inputs), defined_by(row), row.tolerance) != "");
  CHECK(op_rows().size() > 200);
}

TEST_CASE("whoever has a context hears of every row that is off there, or refused") {
  Context context(options_of(best_cpu_level(), 2));
  const auto complaints = row_complaints(context, 0);  // no rounding is allowed
  size_t off = 0, refused = 0;
  for (const std::string& complaint : complaints) {
    off += complaint.find("beyond tolerance") != std::string::npos;
    refused += complaint.find("needs a processor with matrix units") != std::string::npos;
  }
  CHECK(off + refused == complaints.size());
  CHECK(off > op_rows().size() / 2);
  CHECK(off < op_rows().size());
  CHECK((refused == 0) == (best_cpu_level() == CpuLevel::amx));
}
