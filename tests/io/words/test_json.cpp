// The JSON reader takes exactly RFC 8259, says where it stopped, and writes what it can read back.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "sat/io/words/json.h"

namespace {

using sat::Error;
using sat::Json;

Json parse(std::string_view text) { return Json::parse(text, "test.json"); }

std::string message(std::string_view text) {
  try {
    parse(text);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

bool same_bits(double a, double b) { return std::memcmp(&a, &b, sizeof a) == 0; }

}  // namespace

TEST_CASE("json: every kind of value is read") {
  const Json json = parse(" { \"a\" : [1, -2.5e3, true, false, null, \"x\"], \"b\" : {}, \"c\":[ ] } \n");
  CHECK(json["a"][0].integer() == 1);
  CHECK(json["a"][1].number() == -2500);
  CHECK(json["a"][2].boolean());
  CHECK_FALSE(json["a"][3].boolean());
  CHECK(json["a"][4].is_null());
  CHECK(json["a"][5].string() == "x");
  CHECK(json["b"].size() == 0);
  CHECK(json["c"].items().empty());
  CHECK(json.find("d") == nullptr);
  CHECK(json.members()[2].first == "c");
  CHECK(parse("[1,2]").integers() == std::vector<int64_t>{1, 2});
  CHECK(parse("[1,2.5]").numbers() == std::vector<double>{1, 2.5});
  CHECK(parse("[\"a\",\"b\"]").strings() == std::vector<std::string>{"a", "b"});
}

TEST_CASE("json: escapes and surrogate pairs become UTF-8") {
  CHECK(parse(R"("\"\\\/\b\f\n\r\t")").string() == "\"\\/\b\f\n\r\t");
  CHECK(parse(R"("\u0041\u00e9\u20AC\ud83d\uDE00")").string() == "A\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
  CHECK(parse(R"("\u0000")").string() == std::string(1, '\0'));
}

TEST_CASE("json: 64-bit integers are exact and larger ones are floats") {
  CHECK(parse("9223372036854775807").integer() == INT64_MAX);
  CHECK(parse("-9223372036854775808").integer() == INT64_MIN);
  CHECK(parse("9223372036854775808").number() == 0x1p63);
  CHECK_THROWS_AS(parse("9223372036854775808").integer(), Error);
  CHECK_THROWS_AS(parse("1.0").integer(), Error);
  CHECK(std::signbit(parse("-0").number()));
}

TEST_CASE("json: numbers read back to the same bits") {
  std::mt19937_64 bits(7);
  for (int i = 0; i < 20000; ++i) {
    const uint64_t word = bits();
    double value = 0;
    std::memcpy(&value, &word, sizeof value);
    if (!std::isfinite(value)) continue;
    const double back = parse(Json(value).dump()).number();
    if (!same_bits(back, value)) FAIL(value, " came back as ", back);
  }
  for (const double value :
       {0.0, -0.0, 5e-324, std::numeric_limits<double>::max(), 0.1, 1e22, 1e21, 123456789012345680.0}) {
    CHECK(same_bits(parse(Json(value).dump()).number(), value));
  }
  CHECK(parse(Json(int64_t(INT64_MIN)).dump()).integer() == INT64_MIN);
}

TEST_CASE("json: text written is text read, in one line and indented") {
  const Json json = Json::object({{"shape", Json::array({1, 2, 3})},
                                  {"rows", Json::array({Json::object({{"k", true}}), Json()})},
                                  {"text", "quote \" slash \\ tab \t bell \x07 \xC3\xA9"},
                                  {"empty", Json::object()},
                                  {"none", Json::array()}});
  const std::string line =
      "{\"shape\":[1,2,3],\"rows\":[{\"k\":true},null],\"text\":\"quote \\\" slash \\\\ tab \\t bell \\u0007 "
      "\xC3\xA9\","
      "\"empty\":{},\"none\":[]}";
  CHECK(json.dump() == line);
  CHECK(parse(json.dump(2)).dump() == line);
  CHECK(Json::object({{"a", Json::array({1, 2})}, {"b", 1}}).dump(2) == "{\n  \"a\": [1, 2],\n  \"b\": 1\n}");
}

TEST_CASE("json: set replaces and push appends") {
  Json json = Json::object();
  json.set("a", 1).set("b", "x").set("a", 2.5);
  CHECK(json.dump() == "{\"a\":2.5,\"b\":\"x\"}");
  CHECK(Json::array().push(1).push(Json()).dump() == "[1,null]");
}

TEST_CASE("json: what cannot be written is refused") {
  CHECK_THROWS_AS(Json(std::nan("")), Error);
  CHECK_THROWS_AS(Json(-std::numeric_limits<double>::infinity()), Error);
  CHECK_THROWS_AS(Json("\xFF").dump(), Error);
  CHECK_THROWS_AS(Json::object({{"a", 1}, {"a", 2}}), Error);
  Json deep;
  for (int i = 0; i < 65; ++i) deep = Json::array({deep});
  CHECK_THROWS_AS(deep.dump(), Error);
}

TEST_CASE("json: a value of the wrong kind names both kinds") {
  CHECK_THROWS_WITH_AS(parse("[]")["key"], "JSON value is an array, needs an object", Error);
  CHECK_THROWS_WITH_AS(parse("{}")["key"], "JSON object has no key 'key'", Error);
  CHECK_THROWS_WITH_AS(parse("[1]")[3], "JSON array has 1 items, asked for item 3", Error);
  CHECK_THROWS_WITH_AS(parse("\"1\"").number(), "JSON value is a string, needs a number", Error);
}

TEST_CASE("json: messages carry file, line and column in characters") {
  CHECK(message("{\"a\": 1,\n \"\xC3\xA9\": x}") ==
        "test.json: not JSON at line 2, column 7: met 'x', expected a value");
  CHECK(message("{\"a\":1,\n\"a\":2}") ==
        "test.json: not JSON at line 2, column 1: the key 'a' appears twice in one object");
}

TEST_CASE("json: malformed text is refused") {
  const std::vector<std::string> texts = {"",
                                          " ",
                                          "{",
                                          "}",
                                          "[",
                                          "]",
                                          "[1",
                                          "[1,",
                                          "[1,]",
                                          "[,1]",
                                          "[1 2]",
                                          "{\"a\"",
                                          "{\"a\":",
                                          "{\"a\":1",
                                          "{\"a\":1,}",
                                          "{a:1}",
                                          "{'a':1}",
                                          "{\"a\" 1}",
                                          "{1:1}",
                                          "{\"a\":1,\"a\":1}",
                                          "{\"a\":1,\"\\u0061\":1}",
                                          "nul",
                                          "nulll",
                                          "True",
                                          "NaN",
                                          "Infinity",
                                          "-Infinity",
                                          "-",
                                          "+1",
                                          "01",
                                          "-01",
                                          "1.",
                                          ".5",
                                          "1e",
                                          "1e+",
                                          "0x10",
                                          "1_000",
                                          "1e999",
                                          "-1e999",
                                          "1e-999",
                                          "1 1",
                                          "[] []",
                                          "\"",
                                          "\"abc",
                                          "\"\\\"",
                                          "\"\\x41\"",
                                          "\"\\u12\"",
                                          "\"\\u12G4\"",
                                          "\"\\u-123\"",
                                          "\"\\ud800\"",
                                          "\"\\ud800x\"",
                                          "\"\\ud800\\u0041\"",
                                          "\"\\udc00\"",
                                          "\"\\ud83d\\n\"",
                                          "\"a\nb\"",
                                          "\"a\tb\"",
                                          "\"\x80\"",
                                          "\"\xC0\xAF\"",
                                          "\"\xC3\"",
                                          "\"\xE0\x80\x80\"",
                                          "\"\xED\xA0\x80\"",
                                          "\"\xF4\x90\x80\x80\"",
                                          "\"\xF5\x80\x80\x80\"",
                                          "\"\xE2\x82\"",
                                          "\xEF\xBB\xBF{}",
                                          "// c\n1",
                                          "/* c */ 1",
                                          std::string("1\0", 2),
                                          std::string("\0", 1),
                                          "[1]\x0B",
                                          "\xC2\xA0 1"};
  for (const std::string& text : texts) {
    CAPTURE(text);
    CHECK(message(text).rfind("test.json: not JSON at line ", 0) == 0);
  }
}

TEST_CASE("json: nesting of 64 is read, 65 and a million are refused") {
  const auto nested = [](size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  CHECK(parse(nested(64)).size() == 1);
  CHECK(message(nested(65)) == "test.json: not JSON at line 1, column 65: nested more than 64 deep");
  CHECK_THROWS_AS(parse(std::string(1'000'000, '[')), Error);
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  CHECK_THROWS_AS(parse(objects), Error);
}

TEST_CASE("json: more than two million values are refused") {
  std::string text = "[0";
  for (int i = 0; i < 2'000'000; ++i) text += ",0";
  CHECK(message(text + "]").find("more than 2000000 values") != std::string::npos);
}
