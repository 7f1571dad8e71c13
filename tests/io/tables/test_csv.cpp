// Claims: tables are read as RFC 4180 has them, every defect is one sentence that names the file and the line, and what
// a table costs follows from its bytes.
#include <doctest/doctest.h>

#include <chrono>

#include "sat/io/tables/csv.h"
#include "sat/tensor/error.h"
#include "tests/support/checkpoint_bytes.h"
#include "tests/support/golden.h"

namespace sat::test {
namespace {

using Rows = std::vector<std::vector<std::string>>;

Rows rows_of(const std::string& text) {
  const CsvTable table = parse_csv(text, "t.csv");
  Rows rows{table.names()};
  for (int64_t row = 0; row < table.rows(); ++row) {
    rows.emplace_back();
    for (int64_t column = 0; column < table.columns(); ++column) rows.back().emplace_back(table.field(row, column));
  }
  return rows;
}

std::string refusal(const std::string& text, const CsvLimits& limits = {}) {
  try {
    parse_csv(text, "t.csv", limits);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("fields are split at commas, and quotes keep commas, line ends and quotes together") {
  CHECK(rows_of("a,b\n1,2\n3,4\n") == Rows{{"a", "b"}, {"1", "2"}, {"3", "4"}});
  CHECK(rows_of("img_path,report\n\"p,1\",\"Heart \"\"big\"\".\nLungs, clear.\r\n\"\n") ==
        Rows{{"img_path", "report"}, {"p,1", "Heart \"big\".\nLungs, clear.\r\n"}});
  CHECK(rows_of("a,b,c\n,\"\",\n") == Rows{{"a", "b", "c"}, {"", "", ""}});
  CHECK(rows_of("a,b\n 1 ,\t2\n") == Rows{{"a", "b"}, {" 1 ", "\t2"}});
  CHECK(rows_of("a,b\n\"\"\"\",\"\"\"x\"\"\"\n") == Rows{{"a", "b"}, {"\"", "\"x\""}});
}

TEST_CASE("lines may end in three ways, the last one not at all, and empty lines mean nothing") {
  const Rows want{{"a", "b"}, {"1", "2"}, {"3", ""}};
  CHECK(rows_of("a,b\n1,2\n3,\n") == want);
  CHECK(rows_of("a,b\r\n1,2\r\n3,") == want);
  CHECK(rows_of("a,b\r1,2\r3,\r") == want);
  CHECK(rows_of("\xEF\xBB\xBF\n\na,b\n\r\n\n1,2\n\n3,\n\n\n") == want);
  CHECK(rows_of("\xEF\xBB\xBF\"a\",b\n1,2\n3,\"\"") == want);
}

TEST_CASE("a table may have no rows or one column") {
  CHECK(rows_of("a,b\n") == Rows{{"a", "b"}});
  CHECK(rows_of("a") == Rows{{"a"}});
  CHECK(rows_of("a\n1\n\"\"\n2") == Rows{{"a"}, {"1"}, {""}, {"2"}});
}

TEST_CASE("a row knows the line on which it begins") {
  const CsvTable table = parse_csv("a,b\n\"x\ny\r\nz\rw\",1\n\n2,3\n", "t.csv");
  REQUIRE(table.rows() == 2);
  CHECK(table.line(0) == 2);
  CHECK(table.line(1) == 7);
}

TEST_CASE("columns are found by name, and a missing one names those there are") {
  const CsvTable table = parse_csv("img_path,report\nx,y\n", "t.csv");
  CHECK(table.column("report") == 1);
  CHECK(table.field(0, table.column("img_path")) == "x");
  CHECK(!table.find_column("Report"));
  CHECK_THROWS_WITH(table.column("label"), "t.csv: no column 'label' among 2: 'img_path', 'report'");
}

TEST_CASE("every defect of a table is named with its line") {
  CHECK(refusal("") == "t.csv: a table without a header line");
  CHECK(refusal("\n\r\n\n") == "t.csv: a table without a header line");
  CHECK(refusal("\xEF\xBB\xBF") == "t.csv: a table without a header line");
  CHECK(refusal("a,b\n1\n") == "t.csv: line 2 has 1 fields, the header has 2");
  CHECK(refusal("a,b\n1,2\n1,2,3\n") == "t.csv: line 3 has more than the header's 2 fields");
  CHECK(refusal("a,b,a\n") == "t.csv: line 1 names the column 'a' twice");
  CHECK(refusal("a,,\n") == "t.csv: line 1 names the column '' twice");
  CHECK(refusal("a,b\n1,x\"y\"\n") == "t.csv: line 2 has a quote inside a field that does not begin with one");
  CHECK(refusal("a,b\n1, \"y\"\n") == "t.csv: line 2 has a quote inside a field that does not begin with one");
  CHECK(refusal("a,b\n1,\"y\"z\n") == "t.csv: line 2 has 'z' after a closing quote, needs a comma or the line's end");
  CHECK(refusal("a,b\n\"1\n\n\n2,3\n") == "t.csv: the quote that opens in line 2 is never closed");
  CHECK(refusal("\"") == "t.csv: the quote that opens in line 1 is never closed");
  CHECK(refusal("a,\"b\"\"") == "t.csv: the quote that opens in line 1 is never closed");
  CHECK(refusal(std::string("a,b\n1,\0\n", 8)) == "t.csv: line 2 holds a NUL, which no text has");
  CHECK(refusal("a,b\n1,\xFF\n") == "t.csv: line 2 is not UTF-8");
  CHECK(refusal("a,b\r\n1,2\r3,\xFF\r") == "t.csv: line 3 is not UTF-8");
  CHECK(refusal(std::string("\xFF\xFE"
                            "a\0,\0b\0",
                            8)) == "t.csv: line 1 is not UTF-8");  // UTF-16
  CHECK(refusal("a,b\n1,\xE2\x82") == "t.csv: line 2 is not UTF-8");
  CHECK(refusal("a,b,c\n", {100, 2}) == "t.csv: more than 2 columns");
  CHECK(refusal("a,b\n1,2\n", {7, 2}) == "t.csv: a table of 8 bytes, at most 7 are read");
}

TEST_CASE("a table is read from a file, and a missing or a too large one is an error") {
  const TempDir folder;
  write_bytes(folder / "t.csv", "a,b\n1,2\n");
  CHECK(read_csv(folder / "t.csv").field(0, 1) == "2");
  CHECK_THROWS_AS(read_csv(folder / "t.csv", {7, 2}), Error);
  CHECK_THROWS_AS(read_csv(folder / "absent.csv"), Error);
  CHECK_THROWS_AS(read_csv(folder.path()), Error);
}

TEST_CASE("a written field is read back as the same text") {
  const std::vector<std::string> fields = {"",     "plain",    "a,b", "say \"no\"", "two\nlines",
                                           "cr\r", " spaces ", "\"",  "é"};
  std::string text = "a,b,c,d,e,f,g,h,i\n";
  for (size_t i = 0; i < fields.size(); ++i) {
    if (i > 0) text += ',';
    append_csv_field(text, fields[i]);
  }
  CHECK(rows_of(text).back() == fields);
  std::string marked;
  append_csv_field(marked, "\xEF\xBB\xBFname");
  CHECK(rows_of(marked) == Rows{{"\xEF\xBB\xBFname"}});
}

TEST_CASE("tables made to be slow or large end promptly") {
  const auto start = std::chrono::steady_clock::now();
  CHECK(rows_of("a\n" + std::string(1 << 20, '\n')).size() == 1);
  CHECK(refusal(std::string(1 << 20, ',')) == "t.csv: line 1 names the column '' twice");
  CHECK(refusal("a\n\"" + std::string(1 << 20, '\n')) == "t.csv: the quote that opens in line 2 is never closed");
  CHECK(refusal("a\n" + std::string(1 << 20, ',')) == "t.csv: line 2 has more than the header's 1 fields");
  CHECK(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() < 10);
}

}  // namespace sat::test
