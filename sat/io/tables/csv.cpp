// The CSV reader: one pass over the text, which it overwrites with the unquoted fields, never longer than what was
// read.
#include "sat/io/tables/csv.h"

#include <set>
#include <utility>

#include "sat/io/files/file.h"
#include "sat/io/words/text.h"
#include "sat/tensor/error.h"

namespace sat {

namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr size_t kNamesInMessage = 12;

/// Does a line end with the character at this place? The CR of a CRLF ends none.
bool ends_line(std::string_view text, size_t at) {
  return text[at] == '\n' || (text[at] == '\r' && text.substr(at + 1, 1) != "\n");
}

/// Takes a text apart in place.
class Parser {
 public:
  Parser(std::string& text, const std::string& source) : text_(text), source_(source) {
    if (text.compare(0, kByteOrderMark.size(), kByteOrderMark) == 0) at_ = kByteOrderMark.size();
  }

  /// Goes past empty lines; false at the end of the text.
  bool find_row() {
    while (at_ < text_.size() && at_line_end()) take_line_end();
    return at_ < text_.size();
  }

  /// Takes the next field, and what ends it; returns whether another one of the same row follows.
  bool take_field() {
    if (at_ < text_.size() && text_[at_] == '"') {
      take_quoted();
    } else {
      take_plain();
    }
    if (at_ == text_.size()) return false;
    if (text_[at_] == ',') {
      ++at_;
      return true;
    }
    take_line_end();
    return false;
  }

  int64_t line() const { return line_; }
  int64_t written() const { return int64_t(written_); }  // length of all fields so far, at the text's start

 private:
  bool at_line_end() const { return text_[at_] == '\n' || text_[at_] == '\r'; }

  void take_line_end() {
    at_ += text_[at_] == '\r' && at_ + 1 < text_.size() && text_[at_ + 1] == '\n' ? 2 : 1;
    ++line_;
  }

  void take_plain() {
    for (; at_ < text_.size() && text_[at_] != ',' && !at_line_end(); ++at_) {
      SAT_CHECK(text_[at_] != '"', source_, ": line ", line_,
                " has a quote inside a field that does not begin with one");
      text_[written_++] = text_[at_];
    }
  }

  void take_quoted() {
    const int64_t opened = line_;
    for (++at_;; ++at_) {
      SAT_CHECK(at_ < text_.size(), source_, ": the quote that opens in line ", opened, " is never closed");
      const char c = text_[at_];
      if (c == '"') {
        if (at_ + 1 == text_.size() || text_[at_ + 1] != '"') break;
        ++at_;
      } else if (ends_line(text_, at_)) {
        ++line_;
      }
      text_[written_++] = c;
    }
    ++at_;
    SAT_CHECK(at_ == text_.size() || text_[at_] == ',' || at_line_end(), source_, ": line ", line_, " has ",
              quoted(std::string_view(text_).substr(at_, 1)),
              " after a closing quote, needs a comma or the line's end");
  }

  std::string& text_;
  const std::string& source_;
  size_t at_ = 0, written_ = 0;
  int64_t line_ = 1;
};

/// Refuses what is no text: read line by line, so that the message can name one.
void check_text(std::string_view text, const std::string& source) {
  int64_t line = 1;
  for (size_t at = 0; at < text.size();) {
    const int length = utf8_length(text.substr(at));
    SAT_CHECK(length > 0, source, ": line ", line, " is not UTF-8");
    SAT_CHECK(text[at] != '\0', source, ": line ", line, " holds a NUL, which no text has");
    line += ends_line(text, at) ? 1 : 0;
    at += size_t(length);
  }
}

std::string list_of(const std::vector<std::string>& names) {
  std::string list;
  for (size_t i = 0; i < names.size() && i < kNamesInMessage; ++i) list += (i == 0 ? "" : ", ") + quoted(names[i]);
  return names.size() > kNamesInMessage ? list + " and " + std::to_string(names.size() - kNamesInMessage) + " more"
                                        : list;
}

}  // namespace

std::optional<int64_t> CsvTable::find_column(std::string_view name) const {
  for (size_t i = 0; i < names_.size(); ++i) {
    if (names_[i] == name) return int64_t(i);
  }
  return std::nullopt;
}

int64_t CsvTable::column(std::string_view name) const {
  const std::optional<int64_t> found = find_column(name);
  SAT_CHECK(found, source_, ": no column ", quoted(name), " among ", columns(), ": ", list_of(names_));
  return *found;
}

std::string_view CsvTable::field(int64_t row, int64_t column) const {
  const size_t index = size_t(row * columns() + column);
  const int64_t start = index == 0 ? 0 : ends_[index - 1];
  return std::string_view(text_).substr(size_t(start), size_t(ends_[index] - start));
}

CsvTable parse_csv(std::string text, const std::string& source, const CsvLimits& limits) {
  SAT_CHECK(int64_t(text.size()) <= limits.bytes, source, ": a table of ", text.size(), " bytes, at most ",
            limits.bytes, " are read");
  check_text(text, source);
  CsvTable table;
  table.source_ = source;
  table.text_ = std::move(text);
  Parser parser(table.text_, source);
  SAT_CHECK(parser.find_row(), source, ": a table without a header line");
  std::set<std::string> seen;
  const int64_t header_line = parser.line();
  for (bool more = true; more;) {
    const int64_t start = parser.written();
    more = parser.take_field();
    table.names_.push_back(table.text_.substr(size_t(start), size_t(parser.written() - start)));
    SAT_CHECK(table.columns() <= limits.columns, source, ": more than ", limits.columns, " columns");
    SAT_CHECK(seen.insert(table.names_.back()).second, source, ": line ", header_line, " names the column ",
              quoted(table.names_.back()), " twice");
  }
  const int64_t header = parser.written();
  while (parser.find_row()) {
    table.lines_.push_back(parser.line());
    int64_t fields = 0;
    for (bool more = true; more; ++fields) {
      SAT_CHECK(fields < table.columns(), source, ": line ", table.lines_.back(), " has more than the header's ",
                table.columns(), " fields");
      more = parser.take_field();
      table.ends_.push_back(parser.written() - header);
    }
    SAT_CHECK(fields == table.columns(), source, ": line ", table.lines_.back(), " has ", fields,
              " fields, the header has ", table.columns());
  }
  table.text_.resize(size_t(parser.written()));
  table.text_.erase(0, size_t(header));
  return table;
}

CsvTable read_csv(const std::string& path, const CsvLimits& limits) {
  return parse_csv(read_file(path, limits.bytes), path, limits);
}

void append_csv_field(std::string& line, std::string_view text) {
  const bool marked = text.substr(0, kByteOrderMark.size()) == kByteOrderMark;  // lost where it begins a file
  if (!text.empty() && !marked && text.find_first_of(",\"\r\n") == std::string_view::npos) {
    line += text;
    return;
  }
  line += '"';
  for (const char c : text) line.append(c == '"' ? 2 : 1, c);
  line += '"';
}

}  // namespace sat
