// Claims: our tokenizers give the recorded ids of the published fast ones for every recorded string, and treat every
// single Unicode character as they do.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "sat/io/hash.h"
#include "sat/io/json.h"
#include "sat/io/unicode.h"
#include "sat/io/wordpiece.h"
#include "tests/support/golden.h"

namespace sat::test {
namespace {

Json golden_json(const std::string& name) {
  const std::string path = golden_path("text/" + name);
  return Json::parse(read_text(path), path);
}

WordPiece tokenizer(TokenizerFamily family) {
  return WordPiece::read(source_path("weights/vocab/bert-base-uncased.txt"), family);
}

std::vector<int64_t> with_ends(const WordPiece& words, const std::string& start, const std::string& text,
                               const std::string& end) {
  std::vector<int64_t> ids{words.id_of(start)};
  for (const Token& token : words.tokenize(text)) ids.push_back(token.id);
  ids.push_back(words.id_of(end));
  return ids;
}

/// Spaces between the words that "a" c "b" is split into; a line feed alone for a surrogate.
std::string line_of(char32_t c) {
  std::string line;
  if (c < 0xD800 || c > 0xDFFF) {
    for (const std::u32string& word : split_words({std::u32string{U'a', c, U'b'}})) {
      if (!line.empty()) line += ' ';
      line += encode_utf8(word);
    }
  }
  return line + "\n";
}

}  // namespace

TEST_CASE("BERT's tokenizer gives the recorded ids for every recorded string") {
  const WordPiece bert = tokenizer(TokenizerFamily::bert);
  CHECK(bert.size() == 30522);
  const Json cases = golden_json("tokenizer.json");
  CHECK(cases.size() == 624);
  for (const Json& item : cases.items()) {
    const std::string& text = item["text"].string();
    CAPTURE(text);
    CHECK(with_ends(bert, "[CLS]", text, "[SEP]") == item["bert"].integers());
  }
}

TEST_CASE("MPNet's tokenizer gives the recorded ids for every recorded string") {
  const WordPiece mpnet = tokenizer(TokenizerFamily::mpnet);
  CHECK(mpnet.size() == 30527);
  const Json cases = golden_json("tokenizer.json");
  for (const Json& item : cases.items()) {
    const std::string& text = item["text"].string();
    CAPTURE(text);
    CHECK(with_ends(mpnet, "<s>", text, "</s>") == item["mpnet"].integers());
  }
}

TEST_CASE("every Unicode character is dropped, spaced, stripped, lower-cased and split as recorded") {
  const Json recorded = golden_json("unicode_blocks.json");
  const std::vector<std::string> blocks = recorded["blocks"].strings();
  REQUIRE(blocks.size() == 0x110000 / 256);
  for (size_t block = 0; block < blocks.size(); ++block) {
    std::string lines;
    for (char32_t c = char32_t(block * 256); c < (block + 1) * 256; ++c) lines += line_of(c);
    CAPTURE(block);
    CHECK(sha256(lines).substr(0, 16) == blocks[block]);
  }
}

TEST_CASE("decomposition sorts marks by class, stably, and takes Hangul syllables apart") {
  CHECK(decompose(U"e\u0301\u0323") == U"e\u0323\u0301");  // below (220) comes before above (230)
  CHECK(decompose(U"e\u0301\u0300") == U"e\u0301\u0300");  // equal classes keep their order
  CHECK(decompose(U"\u1EAD") == U"a\u0323\u0302");         // two steps
  CHECK(decompose(U"\uD55C\uAC00") == U"\u1112\u1161\u11AB\u1100\u1161");
  CHECK(decompose(U"\U00011938") == U"\U00011938");  // newer than the tables
}

TEST_CASE("Python's lower case knows the end of a word and the dotted capital I") {
  CHECK(python_lower("LIVER") == "liver");
  CHECK(python_lower("ΟΔΟΣ") == "οδος");
  CHECK(python_lower("ΟΔΟΣ ΟΔΟΣ.") == "οδος οδος.");
  CHECK(python_lower("ΟΣΟ") == "οσο");
  CHECK(python_lower("Σ") == "σ");        // no letter before
  CHECK(python_lower("ΑΣ'Α") == "ασ'α");  // the apostrophe does not end the word
  CHECK(python_lower("ΑΣ'") == "ας'");
  CHECK(python_lower("Α\u0301Σ") == "α\u0301ς");  // a mark between is passed over
  CHECK(python_lower("İ") == "i\u0307");
  CHECK(python_lower("\u1E9E") == "ß");
  CHECK(python_lower("\u1C89") == "\u1C89");  // lower case since Unicode 16 only
}

TEST_CASE("malformed UTF-8 in a prompt is one clear error") {
  const WordPiece bert = tokenizer(TokenizerFamily::bert);
  for (const std::string& bad : {std::string("li\xFFver"), std::string("\xC0\x80"), std::string("\xED\xA0\x80"),
                                 std::string("kidney\xE2\x82"), std::string("\xF4\x90\x80\x80")}) {
    CHECK_THROWS_AS(bert.tokenize(bad), Error);
    CHECK_THROWS_AS(python_lower(bad), Error);
  }
  CHECK_THROWS_WITH(bert.tokenize("li\xFFver"), "a prompt is not UTF-8: byte 2 of 6 starts no well-formed character");
}

}  // namespace sat::test
