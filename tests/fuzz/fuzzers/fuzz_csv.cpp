// Fuzzes the CSV reader: what it took, written and read again, is the same table.
#include "sat/io/tables/csv.h"

#include "tests/fuzz/fuzz.h"

using namespace sat;
using namespace sat::test;

namespace {

std::string written(const CsvTable& table) {
  std::string text;
  for (int64_t row = -1; row < table.rows(); ++row) {
    for (int64_t column = 0; column < table.columns(); ++column) {
      if (column > 0) text += ',';
      append_csv_field(text, row < 0 ? std::string_view(table.names()[size_t(column)]) : table.field(row, column));
    }
    text += '\n';
  }
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t count) {
  return try_input([&] {
    const std::string once = written(parse_csv({reinterpret_cast<const char*>(bytes), count}, "input"));
    must_do([&] { must(written(parse_csv(once, "own words")) == once); });
  });
}
