// Claims: marks are sorted, letters lower-cased and malformed text refused as the published tokenizers do. Recorded ids
// are test_text_parity.cpp's.
#include <doctest/doctest.h>

#include <string>

#include "sat/io/words/unicode.h"
#include "sat/io/words/wordpiece.h"
#include "tests/support/golden.h"

namespace sat::test {
namespace {

WordPiece tokenizer(TokenizerFamily family) {
  return WordPiece::read(source_path("weights/vocab/bert-base-uncased.txt"), family);
}

}  // namespace

TEST_CASE("MPNet's vocabulary is BERT's with five entries more") {
  CHECK(tokenizer(TokenizerFamily::bert).size() == 30522);
  CHECK(tokenizer(TokenizerFamily::mpnet).size() == 30527);
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
