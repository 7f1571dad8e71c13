// Private. Comma-separated tables with a header line, as RFC 4180 has them: reports, labels, features. Knows texts
// only; what a column means, and whether its fields are numbers, is the caller's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sat {

struct CsvLimits {
  int64_t bytes = int64_t(1) << 30;
  int64_t columns = 1 << 16;
};

/// A table whose fields are views of one text: beside the file's own bytes it costs 8 a field and 8 a row.
class CsvTable {
 public:
  int64_t rows() const { return int64_t(lines_.size()); }  // without the header
  int64_t columns() const { return int64_t(names_.size()); }
  const std::vector<std::string>& names() const { return names_; }
  const std::string& source() const { return source_; }  // the file's name, for messages

  /// The column of this name, which is compared byte by byte; column() throws Error naming those there are.
  std::optional<int64_t> find_column(std::string_view name) const;
  int64_t column(std::string_view name) const;

  /// A field without its quotes, 0 <= row < rows() and 0 <= column < columns(). It lives as long as the table.
  std::string_view field(int64_t row, int64_t column) const;
  int64_t line(int64_t row) const { return lines_[size_t(row)]; }  // of the file, from 1, where the row begins

 private:
  friend CsvTable parse_csv(std::string text, const std::string& source, const CsvLimits& limits);

  std::string source_, text_;  // fields one after the other, unquoted
  std::vector<std::string> names_;
  std::vector<int64_t> ends_;   // of every field in text_, row by row
  std::vector<int64_t> lines_;  // of every row
};

/// Reads a whole table. Lines end with LF, CRLF or CR; empty lines are passed over; a byte order mark at the start
/// means nothing. A field in double quotes may hold commas, line ends and, doubled, quotes; spaces belong to fields.
/// Throws Error, naming the line, for a file beyond the limits or without a header, a row with another number of fields
/// than the header, a repeated column, a quote inside a field that does not begin with one, text after a closing quote,
/// a quote that is never closed, a NUL, and text that is not UTF-8.
CsvTable read_csv(const std::string& path, const CsvLimits& limits = {});
CsvTable parse_csv(std::string text, const std::string& source, const CsvLimits& limits = {});

/// Appends one field to a line, in quotes where it needs them: read back, it is the same text.
void append_csv_field(std::string& line, std::string_view text);

}  // namespace sat
