// The JSON reader and writer. The reader is a recursive descent over the bytes; the nesting cap bounds its stack.
#include "sat/io/words/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "sat/io/words/text.h"

namespace sat {

namespace {

constexpr int kMaxNesting = 64;
constexpr int64_t kMaxValues = 2'000'000;      // a value costs 40 bytes and more however short its text is
constexpr int64_t kMaxMemberValues = 200'000;  // of each_member()

const char* name_of(Json::Kind kind) {
  switch (kind) {
    case Json::Kind::null: return "null";
    case Json::Kind::boolean: return "a boolean";
    case Json::Kind::number: return "a number";
    case Json::Kind::string: return "a string";
    case Json::Kind::array: return "an array";
    case Json::Kind::object: return "an object";
  }
  return "?";
}

void check_kind(Json::Kind met, Json::Kind wanted) {
  SAT_CHECK(met == wanted, "JSON value is ", name_of(met), ", needs ", name_of(wanted));
}

class Parser {
 public:
  Parser(std::string_view text, const std::string& source) : text_(text), source_(source) {}

  Json parse() {
    if (text_.substr(0, 3) == "\xEF\xBB\xBF") refuse("a byte order mark, which JSON does not allow");
    Json value = parse_value(0);
    skip_spaces();
    if (at_ < text_.size()) refuse("more text after the end of the value");
    return value;
  }

  void each_member(const std::function<void(const std::string&, const Json&)>& visit) {
    most_values_ = kMaxMemberValues;
    skip_spaces();
    if (peek() != '{') refuse("met ", met(), ", expected an object");
    enter(0);
    if (!take('}')) {
      do {
        values_ = 0;
        std::string key = parse_key();
        visit(key, parse_value(1));
        skip_spaces();
      } while (take(','));
      if (!take('}')) refuse("met ", met(), ", expected ',' or '}'");
    }
    skip_spaces();
    if (at_ < text_.size()) refuse("more text after the end of the value");
  }

 private:
  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    int64_t line = 1, column = 1;
    for (const char c : text_.substr(0, at_)) {
      const bool continuation = (uint8_t(c) & 0xC0) == 0x80;
      column = c == '\n' ? 1 : column + (continuation ? 0 : 1);
      line += c == '\n' ? 1 : 0;
    }
    fail(source_, ": not JSON at line ", line, ", column ", column, ": ", parts...);
  }

  bool at_end() const { return at_ == text_.size(); }
  char peek() const { return at_end() ? '\0' : text_[at_]; }
  bool is_digit() const { return peek() >= '0' && peek() <= '9'; }

  void skip_spaces() {
    while (!at_end() && (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r')) ++at_;
  }

  bool take(char wanted) {
    if (at_end() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }

  std::string met() const { return at_end() ? "the end of the text" : quoted(text_.substr(at_, 1)); }

  Json parse_value(int depth) {
    if (++values_ > most_values_) refuse("more than ", most_values_, " values");
    skip_spaces();
    switch (peek()) {
      case '{': return parse_object(depth);
      case '[': return parse_array(depth);
      case '"': return parse_string();
      case 't': return parse_word("true", true);
      case 'f': return parse_word("false", false);
      case 'n': return parse_word("null", Json());
      default: return parse_number();
    }
  }

  Json parse_word(std::string_view word, Json value) {
    if (text_.substr(at_, word.size()) != word) refuse("a word that is not true, false or null");
    at_ += word.size();
    return value;
  }

  void enter(int depth) {
    if (depth >= kMaxNesting) refuse("nested more than ", kMaxNesting, " deep");
    ++at_;
    skip_spaces();
  }

  Json parse_array(int depth) {
    enter(depth);
    std::vector<Json> items;
    if (take(']')) return Json::array();
    do {
      items.push_back(parse_value(depth + 1));
      skip_spaces();
    } while (take(','));
    if (!take(']')) refuse("met ", met(), ", expected ',' or ']'");
    return Json::array(std::move(items));
  }

  Json parse_object(int depth) {
    enter(depth);
    std::vector<Json::Member> members;
    std::set<std::string> keys;
    if (take('}')) return Json::object();
    do {
      skip_spaces();
      const size_t key_at = at_;
      std::string key = parse_key();
      if (!keys.insert(key).second) {
        at_ = key_at;
        refuse("the key ", quoted(key), " appears twice in one object");
      }
      Json value = parse_value(depth + 1);
      members.emplace_back(std::move(key), std::move(value));
      skip_spaces();
    } while (take(','));
    if (!take('}')) refuse("met ", met(), ", expected ',' or '}'");
    return Json::object(std::move(members));
  }

  /// A key and the colon behind it.
  std::string parse_key() {
    skip_spaces();
    if (peek() != '"') refuse("met ", met(), ", expected a key in double quotes");
    std::string key = parse_string();
    skip_spaces();
    if (!take(':')) refuse("met ", met(), ", expected ':' after a key");
    return key;
  }

  std::string parse_string() {
    ++at_;
    std::string value;
    while (!take('"')) {
      if (at_end()) refuse("the text ends inside a string");
      if (uint8_t(peek()) < 0x20) refuse("a control character inside a string");
      if (take('\\')) {
        parse_escape(value);
        continue;
      }
      const int length = utf8_length(text_.substr(at_, 4));
      if (length == 0) refuse("a byte that is not UTF-8");
      value += text_.substr(at_, size_t(length));
      at_ += size_t(length);
    }
    return value;
  }

  void parse_escape(std::string& value) {
    constexpr std::string_view kLetters = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
    const size_t letter = at_end() ? std::string_view::npos : kLetters.find(peek());
    if (letter != std::string_view::npos) {
      value += kMeanings[letter];
      ++at_;
      return;
    }
    if (!take('u')) refuse("an escape that JSON does not have");
    uint32_t code_point = parse_hex();
    if (code_point >= 0xDC00 && code_point <= 0xDFFF) refuse("the second half of a surrogate pair without its first");
    if (code_point >= 0xD800 && code_point <= 0xDBFF) {
      const bool paired = take('\\') && take('u');
      const uint32_t low = paired ? parse_hex() : 0;
      if (low < 0xDC00 || low > 0xDFFF) refuse("the first half of a surrogate pair without its second");
      code_point = 0x10000 + ((code_point - 0xD800) << 10) + (low - 0xDC00);
    }
    append_utf8(value, code_point);
  }

  uint32_t parse_hex() {
    uint32_t value = 0;
    const std::string_view digits = text_.substr(at_, 4);
    const auto end = digits.data() + digits.size();
    const auto [stop, problem] = std::from_chars(digits.data(), end, value, 16);
    if (digits.size() < 4 || problem != std::errc() || stop != end) refuse("\\u without four hexadecimal digits");
    at_ += 4;
    return value;
  }

  void take_digits() {
    if (!is_digit()) refuse("met ", met(), ", expected a digit");
    while (is_digit()) ++at_;
  }

  Json parse_number() {
    const size_t first = at_;
    const bool negative = take('-');
    if (!is_digit()) refuse("met ", met(), ", expected a value");
    if (take('0')) {
      if (is_digit()) refuse("a number with a leading zero");
    } else {
      take_digits();
    }
    bool whole = true;
    if (take('.')) {
      whole = false;
      take_digits();
    }
    if (take('e') || take('E')) {
      whole = false;
      if (!take('+')) take('-');
      take_digits();
    }
    const std::string_view digits = text_.substr(first, at_ - first);
    const char *begin = digits.data(), *end = begin + digits.size();
    int64_t integer = 0;
    // "-0" keeps its sign, so it is read as a float.
    if (whole && !(negative && digits == "-0") && std::from_chars(begin, end, integer).ec == std::errc()) {
      return integer;
    }
    double number = 0;
    if (std::from_chars(begin, end, number).ec != std::errc() || !std::isfinite(number)) {
      at_ = first;
      refuse("the number ", quoted(digits), " is beyond the range of a 64-bit float");
    }
    return number;
  }

  std::string_view text_;
  const std::string& source_;
  size_t at_ = 0;
  int64_t values_ = 0, most_values_ = kMaxValues;
};

void write_string(std::string& out, const std::string& text) {
  SAT_CHECK(is_utf8(text), "JSON string ", quoted(text), " is not UTF-8");
  out += '"';
  for (const char c : text) {
    constexpr std::string_view kSpecial = "\"\\\b\f\n\r\t", kLetters = "\"\\bfnrt";
    if (const size_t letter = kSpecial.find(c); letter != std::string_view::npos) {
      out += '\\';
      out += kLetters[letter];
    } else if (uint8_t(c) < 0x20) {
      out += "\\u00";
      out += "01"[uint8_t(c) >> 4];
      out += "0123456789abcdef"[uint8_t(c) & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

template <class Number>
void write_number(std::string& out, Number value) {
  char digits[32];
  const auto result = std::to_chars(digits, digits + sizeof digits, value);
  out.append(digits, result.ptr);
}

bool is_container(const Json& value) { return value.kind() == Json::Kind::array || value.kind() == Json::Kind::object; }

/// Writes arrays and objects as rows; an array of plain values stays on one line whatever the indent.
class Writer {
 public:
  explicit Writer(int indent) : indent_(indent) {}

  void write(const Json& value, int depth) {
    SAT_CHECK(depth <= kMaxNesting, "JSON value is nested more than ", kMaxNesting, " deep");
    switch (value.kind()) {
      case Json::Kind::null: out += "null"; return;
      case Json::Kind::boolean: out += value.boolean() ? "true" : "false"; return;
      case Json::Kind::number: out += value.number_text(); return;
      case Json::Kind::string: write_string(out, value.string()); return;
      case Json::Kind::array: write_array(value.items(), depth); return;
      case Json::Kind::object: write_object(value.members(), depth); return;
    }
  }

  std::string out;

 private:
  void write_array(const std::vector<Json>& items, int depth) {
    const bool rows = indent_ > 0 && std::any_of(items.begin(), items.end(), is_container);
    out += '[';
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out += indent_ > 0 && !rows ? ", " : ",";
      if (rows) new_line(depth + 1);
      write(items[i], depth + 1);
    }
    if (rows) new_line(depth);
    out += ']';
  }

  void write_object(const std::vector<Json::Member>& members, int depth) {
    out += '{';
    for (size_t i = 0; i < members.size(); ++i) {
      if (i > 0) out += ',';
      new_line(depth + 1);
      write_string(out, members[i].first);
      out += indent_ > 0 ? ": " : ":";
      write(members[i].second, depth + 1);
    }
    if (!members.empty()) new_line(depth);
    out += '}';
  }

  void new_line(int depth) {
    if (indent_ == 0) return;
    out += '\n';
    out.append(size_t(indent_) * size_t(depth), ' ');
  }

  int indent_;
};

}  // namespace

Json::Json(double value) : value_(value) { SAT_CHECK(std::isfinite(value), "JSON has no number for ", value); }

Json Json::array(std::vector<Json> items) {
  Json value;
  value.value_ = std::move(items);
  return value;
}

Json Json::object(std::vector<Member> members) {
  std::vector<std::string_view> keys;
  for (const Member& member : members) keys.push_back(member.first);
  std::sort(keys.begin(), keys.end());
  const auto twice = std::adjacent_find(keys.begin(), keys.end());
  SAT_CHECK(twice == keys.end(), "JSON object has the key ", quoted(*twice), " twice");
  Json value;
  value.value_ = std::move(members);
  return value;
}

Json Json::parse(std::string_view text, const std::string& source) { return Parser(text, source).parse(); }

void Json::each_member(std::string_view text, const std::string& source,
                       const std::function<void(const std::string&, const Json&)>& visit) {
  Parser(text, source).each_member(visit);
}

Json::Kind Json::kind() const {
  constexpr Kind kKinds[] = {Kind::null,   Kind::boolean, Kind::number, Kind::number,
                             Kind::string, Kind::array,   Kind::object};
  return kKinds[value_.index()];
}

template <class T>
const T& Json::as(Kind wanted) const {
  check_kind(kind(), wanted);
  return std::get<T>(value_);
}

bool Json::boolean() const { return as<bool>(Kind::boolean); }

double Json::number() const {
  if (const auto* whole = std::get_if<int64_t>(&value_)) return double(*whole);
  return as<double>(Kind::number);
}

int64_t Json::integer() const {
  check_kind(kind(), Kind::number);
  SAT_CHECK(std::holds_alternative<int64_t>(value_), "JSON number ", number_text(), " is not a 64-bit integer");
  return std::get<int64_t>(value_);
}

std::string Json::number_text() const {
  check_kind(kind(), Kind::number);
  std::string text;
  if (const auto* whole = std::get_if<int64_t>(&value_)) {
    write_number(text, *whole);
  } else {
    write_number(text, std::get<double>(value_));
  }
  return text;
}

const std::string& Json::string() const { return as<std::string>(Kind::string); }

const std::vector<Json>& Json::items() const { return as<std::vector<Json>>(Kind::array); }

const std::vector<Json::Member>& Json::members() const { return as<std::vector<Member>>(Kind::object); }

size_t Json::size() const { return kind() == Kind::array ? items().size() : members().size(); }

const Json& Json::operator[](size_t index) const {
  SAT_CHECK(index < items().size(), "JSON array has ", items().size(), " items, asked for item ", index);
  return items()[index];
}

const Json& Json::operator[](std::string_view key) const {
  const Json* found = find(key);
  SAT_CHECK(found, "JSON object has no key ", quoted(key));
  return *found;
}

const Json* Json::find(std::string_view key) const {
  for (const Member& member : members()) {
    if (member.first == key) return &member.second;
  }
  return nullptr;
}

std::vector<double> Json::numbers() const {
  std::vector<double> values;
  for (const Json& item : items()) values.push_back(item.number());
  return values;
}

std::vector<int64_t> Json::integers() const {
  std::vector<int64_t> values;
  for (const Json& item : items()) values.push_back(item.integer());
  return values;
}

std::vector<std::string> Json::strings() const {
  std::vector<std::string> values;
  for (const Json& item : items()) values.push_back(item.string());
  return values;
}

Json& Json::set(std::string key, Json value) {
  check_kind(kind(), Kind::object);
  auto& members = std::get<std::vector<Member>>(value_);
  for (Member& member : members) {
    if (member.first == key) {
      member.second = std::move(value);
      return *this;
    }
  }
  members.emplace_back(std::move(key), std::move(value));
  return *this;
}

Json& Json::push(Json value) {
  check_kind(kind(), Kind::array);
  std::get<std::vector<Json>>(value_).push_back(std::move(value));
  return *this;
}

std::string Json::dump(int indent) const {
  Writer writer(indent);
  writer.write(*this, 0);
  return std::move(writer.out);
}

}  // namespace sat
