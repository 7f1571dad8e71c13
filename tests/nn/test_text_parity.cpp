// Claims: BERT, MPNet, SAT's encoders around them and their tokenizers give the recorded values, and the comparison
// notices what differs.
#include <doctest/doctest.h>

#include <cstdio>

#include "sat/io/files/hash.h"
#include "sat/io/words/json.h"
#include "sat/io/words/unicode.h"
#include "sat/io/words/wordpiece.h"
#include "tests/support/golden.h"
#include "tests/support/parity/text_parity.h"

namespace sat::test {
namespace {

/// Quantities whose names begin so are there, that many, and all within their limits.
void check_met(const std::string& beginning, int expected) {
  static const std::vector<ParityLine> lines = compare_text(golden_path("text"));
  int found = 0;
  for (const ParityLine& line : lines) {
    if (line.quantity.compare(0, beginning.size(), beginning) != 0) continue;
    ++found;
    CAPTURE(line.quantity);
    CHECK(line.error <= line.limit);
  }
  CHECK(found == expected);
}

void write_text(const std::string& path, const std::string& text) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  REQUIRE(file);
  REQUIRE(std::fwrite(text.data(), 1, text.size(), file) == text.size());
  REQUIRE(std::fclose(file) == 0);
}

}  // namespace

TEST_CASE("relative positions fall into the recorded buckets") { check_met("relative position buckets", 1); }

TEST_CASE("MPNet gives the recorded hidden states after every layer, padded, long and with id 1") {
  check_met("mpnet ", 6);
}

TEST_CASE("BERT gives the recorded hidden states after every layer, padded, long and with id 1") {
  check_met("bert ", 6);
}

TEST_CASE("SAT's own encoder gives the recorded ids, masks, sentence vectors and queries") {
  check_met("ours_small: ", 3);
}

TEST_CASE("the BERT encoders give the recorded ids and queries") { check_met("basebert_small: ", 2); }

TEST_CASE("the plain tokenizers give the recorded ids for every recorded string") {
  check_met("tokenizer bert (624 strings)", 1);
  check_met("tokenizer mpnet (624 strings)", 1);
}

TEST_CASE("prompts become the recorded ids, as written and lower-cased, cut to 256 and to 64") {
  check_met("tokenizer ours as written (624 strings)", 1);
  check_met("tokenizer ours lower-cased (624 strings)", 1);
  check_met("tokenizer medcpt as written (624 strings)", 1);
  check_met("tokenizer medcpt lower-cased (624 strings)", 1);
}

TEST_CASE("every Unicode character is dropped, spaced, stripped, lower-cased and split as recorded") {
  check_met("unicode (4352 blocks)", 1);
}

TEST_CASE("other weights, other ids and other characters exceed the limits, and an empty folder is refused") {
  const std::string values_path = golden_path("text/values.json");
  const Json values = Json::parse(read_text(values_path), values_path);
  TempDir folder;
  write_text(folder / "case.json", R"({"kind": "text", "prefix": "another."})");
  CHECK_THROWS_WITH_AS(compare_text(folder.path()), doctest::Contains("nothing to compare"), Error);

  Json some = Json::object();
  for (const char* name : {"bert", "basebert_small"}) some.set(name, values[name]);
  write_text(folder / "values.json", some.dump());
  write_text(folder / "tokenizer.json", R"([{"text": "liver", "bert": [101, 11291, 102]}])");
  write_text(folder / "unicode_blocks.json", R"({"blocks": ["0000000000000000"]})");
  const std::vector<ParityLine> lines = compare_text(folder.path());
  CHECK(lines.size() == 9);  // three batches, ids and queries, three tokenizers, blocks; the arrays are not there
  for (const ParityLine& line : lines) {
    CAPTURE(line.quantity);
    CHECK(line.passed() == (line.quantity == "basebert_small: ids and masks (6 texts)"));
  }
}

TEST_CASE("blocks of code points are compared in the text that the record says") {
  const auto passes = [](const std::string& string, char32_t surroundings) {
    std::string lines;
    for (char32_t c = 0; c < 256; ++c) {
      const std::u32string text =
          surroundings ? std::u32string{surroundings, c, surroundings} : std::u32string{c, U'x'};
      std::string line;
      for (const std::u32string& word : split_words(text)) line += (line.empty() ? "" : " ") + encode_utf8(word);
      lines += line + "\n";
    }
    const TempDir folder;
    write_text(folder / "case.json", R"({"kind": "text", "prefix": ""})");
    Json record = Json::object().set("blocks", Json::array({sha256(lines).substr(0, 16)}));
    if (!string.empty()) record.set("string", string);
    write_text(folder / "unicode_blocks.json", record.dump());
    return compare_text(folder.path())[0].passed();
  };
  CHECK(passes("\"q\" c \"q\"", U'q'));
  CHECK(passes("c \"x\"", 0));
  CHECK_FALSE(passes("\"q\" c", U'q'));
  CHECK_FALSE(passes("", U'q'));  // without a string: a, the code point, b
  for (const char* wrong : {"\"a\"", "\"a c", "\"a\" d"}) CHECK_THROWS_AS(passes(wrong, U'q'), Error);
}

}  // namespace sat::test
