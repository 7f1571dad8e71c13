// Fuzzes vocabularies of word pieces and the texts they cut: an input is a vocabulary, an empty line, a text.
#include <string_view>

#include "sat/io/words/wordpiece.h"
#include "tests/fuzz/fuzz.h"

using namespace sat;
using namespace sat::test;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t count) {
  const std::string_view all(reinterpret_cast<const char*>(bytes), count);
  const size_t end = all.find("\n\n");
  const std::string path = input_file("vocab.txt", bytes, end == std::string_view::npos ? count : end + 1);
  const std::string_view text = end == std::string_view::npos ? all : all.substr(end + 2);
  for (TokenizerFamily family : {TokenizerFamily::bert, TokenizerFamily::mpnet}) {
    try_input([&] {
      const WordPiece pieces = WordPiece::read(path, family);
      for (const Token& token : pieces.tokenize(text)) must(token.id >= 0 && token.id < pieces.size());
    });
  }
  return 0;
}
