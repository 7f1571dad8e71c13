// Claims: a vocabulary file that is damaged, foreign or too large is one clear error, and odd prompts end promptly.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <fstream>

#include "sat/io/words/wordpiece.h"
#include "sat/tensor/error.h"
#include "tests/support/golden.h"

namespace sat::test {
namespace {

const std::string kSmall = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nliver\n##s\n";

std::string written(const TempDir& folder, const std::string& bytes) {
  const std::string path = folder / "vocab.txt";
  std::ofstream(path, std::ios::binary).write(bytes.data(), std::streamsize(bytes.size()));
  return path;
}

std::string reading_error(const std::string& bytes, TokenizerFamily family = TokenizerFamily::bert) {
  const TempDir folder;
  try {
    WordPiece::read(written(folder, bytes), family);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string repeated(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

}  // namespace

TEST_CASE("a vocabulary is read with either line ending and with or without a last one") {
  const TempDir folder;
  for (const std::string& text : {kSmall, kSmall.substr(0, kSmall.size() - 1), [] {
                                    std::string dos;
                                    for (char c : kSmall) dos += c == '\n' ? "\r\n" : std::string(1, c);
                                    return dos;
                                  }()}) {
    const WordPiece words = WordPiece::read(written(folder, text), TokenizerFamily::bert);
    CHECK(words.size() == 7);
    const std::vector<Token> tokens = words.tokenize("Livers");
    REQUIRE(tokens.size() == 2);
    CHECK(tokens[0].id == 5);
    CHECK(tokens[1].id == 6);
  }
}

TEST_CASE("a BERT vocabulary read for MPNet moves up by four and gains <mask>; MPNet's own stays as it is") {
  const TempDir folder;
  const WordPiece grown = WordPiece::read(written(folder, kSmall), TokenizerFamily::mpnet);
  CHECK(grown.size() == 12);
  CHECK(grown.id_of("liver") == 9);
  CHECK(grown.id_of("<mask>") == 11);
  const std::string own = "<s>\n<pad>\n</s>\n<unk>\n" + kSmall + "<mask>\n";
  CHECK(WordPiece::read(written(folder, own), TokenizerFamily::mpnet).size() == 12);
}

TEST_CASE("every defect of a vocabulary file is named") {
  CHECK(contains(reading_error(kSmall + "liver\n"), "entry 'liver' stands in lines 6 and 8"));
  CHECK(contains(reading_error("[PAD]\n\n[UNK]\n"), "line 2 is empty"));
  CHECK(contains(reading_error(kSmall + "\xFF\xFE\n"), "line 8 is not UTF-8"));
  CHECK(contains(reading_error("[UNK]\nliver\n"), "without '[PAD]'"));
  CHECK(contains(reading_error("[PAD]\n[UNK]\n[CLS]\n[SEP]\nliver\n"), "a vocabulary of 5 entries without '[MASK]'"));
  CHECK(contains(reading_error("<s>\n" + kSmall, TokenizerFamily::mpnet), "without '<unk>'"));
  CHECK(reading_error(std::string("\x7F"
                                  "ELF\0\0\0\1",
                                  8)) != "");
  CHECK(reading_error("") != "");
  CHECK(reading_error(std::string(17 << 20, 'a')) != "");
}

TEST_CASE("a vocabulary file that is missing or a folder is an error") {
  const TempDir folder;
  CHECK_THROWS_AS(WordPiece::read(folder / "absent.txt", TokenizerFamily::bert), Error);
  CHECK_THROWS_AS(WordPiece::read(folder.path(), TokenizerFamily::bert), Error);
}

TEST_CASE("prompts made to be slow end promptly") {
  const WordPiece words = WordPiece::read(source_path("weights/vocab/bert-base-uncased.txt"), TokenizerFamily::mpnet);
  const auto start = std::chrono::steady_clock::now();
  CHECK(words.tokenize(std::string(1 << 20, 'a')).size() == 1);
  CHECK(words.tokenize(repeated("a\xCC\x81\xCC\xA3", 1 << 18)).size() == 1);  // a letter and two marks
  CHECK(words.tokenize(std::string("a") + repeated("\xCC\xA3\xCC\x81", 1 << 18)).size() ==
        1);                                                          // one run of marks to sort
  CHECK(words.tokenize(repeated("\xEF\xBF\xBD", 1 << 18)).empty());  // nothing but dropped characters
  CHECK(words.tokenize(repeated("<mask> ", 1 << 16)).size() == 1 << 16);
  CHECK(words.tokenize(repeated(" ", 1 << 20) + "<mask").size() == 2);
  CHECK(words.tokenize(repeated("qzx", 33) + " " + repeated(std::string(99, 'j') + " ", 2000)).size() > 2000);
  CHECK(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() < 20);
}

}  // namespace sat::test
