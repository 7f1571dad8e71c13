// A small JSON reader and writer for configs, file headers and manifests.
// Knows text only. Strict: RFC 8259, UTF-8, no duplicate keys, nesting at most 64 deep, a bounded number of values.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "sat/tensor/error.h"

namespace sat {

/// One JSON value. Objects keep the order of their keys. Access of the wrong kind throws Error naming what was met.
class Json {
 public:
  enum class Kind : uint8_t { null, boolean, number, string, array, object };
  using Member = std::pair<std::string, Json>;

  Json() = default;  // null
  Json(bool value) : value_(value) {}
  Json(double value);  // throws Error unless finite
  Json(int64_t value) : value_(value) {}
  Json(int value) : Json(int64_t(value)) {}
  Json(std::string value) : value_(std::move(value)) {}
  Json(const char* value) : Json(std::string(value)) {}
  static Json array(std::vector<Json> items = {});
  static Json object(std::vector<Member> members = {});

  /// Parses the whole text; `source` names it in messages, which carry line and column.
  static Json parse(std::string_view text, const std::string& source);

  /// Parses a text that is one object member by member, so that never more than one of their values is held: what a
  /// large header costs. Whether a key comes twice is for `visit` to find.
  static void each_member(std::string_view text, const std::string& source,
                          const std::function<void(const std::string& key, const Json& value)>& visit);

  Kind kind() const;
  bool is_null() const { return kind() == Kind::null; }
  bool boolean() const;
  double number() const;
  int64_t integer() const;          // throws unless the number was written as a 64-bit integer
  std::string number_text() const;  // the shortest text that reads back to the same number
  const std::string& string() const;
  const std::vector<Json>& items() const;      // of an array
  const std::vector<Member>& members() const;  // of an object
  size_t size() const;                         // of an array or object
  const Json& operator[](size_t index) const;  // of an array
  const Json& operator[](int index) const { return (*this)[size_t(index)]; }
  const Json& operator[](std::string_view key) const;  // of an object; throws naming the key when absent
  const Json& operator[](const char* key) const { return (*this)[std::string_view(key)]; }
  const Json* find(std::string_view key) const;  // of an object; null when absent
  std::vector<double> numbers() const;           // an array of numbers
  std::vector<int64_t> integers() const;         // an array of integers
  std::vector<std::string> strings() const;      // an array of strings

  Json& set(std::string key, Json value);  // of an object: adds or replaces; returns *this
  Json& push(Json value);                  // of an array: appends; returns *this

  /// Text with numbers that read back to the same bits. indent 0: one line; otherwise spaces a level.
  std::string dump(int indent = 0) const;

 private:
  template <class T>
  const T& as(Kind wanted) const;

  std::variant<std::monostate, bool, double, int64_t, std::string, std::vector<Json>, std::vector<Member>> value_;
};

}  // namespace sat
