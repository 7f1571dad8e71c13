// Claims: added tokens are matched as written, lengths are kept, and whatever a tokenizer's file holds that this one
// does not do is one clear error.
#include <doctest/doctest.h>

#include <chrono>
#include <functional>

#include "sat/tensor/error.h"
#include "tests/io/reports/tokenizer_file.h"
#include "tests/support/checkpoint_bytes.h"

namespace sat::test {
namespace {

const std::vector<std::string> kSmall = {"[PAD]", "[UNK]", "[CLS]", "[MASK]", "[SEP]", "a", "##b", "##bc", "."};

std::string refusal_of(const std::string& json) {
  try {
    ReportTokenizer::parse(json, "t.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

/// What a file is told of which one text is replaced; it must be there.
std::string refusal(const std::string& from, const std::string& to) {
  std::string json = tokenizer_json(kSmall).dump();
  const size_t at = json.find(from);
  REQUIRE(at != std::string::npos);
  return refusal_of(json.replace(at, from.size(), to));
}

std::string repeated(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

using Ids = std::vector<int64_t>;

}  // namespace

TEST_CASE("words are cut into the longest pieces, and a word that cannot be cut is unknown") {
  const ReportTokenizer tokenizer = ReportTokenizer::parse(tokenizer_json(kSmall).dump(), "t.json");
  CHECK(tokenizer.encode("ABC abb \xC3\xA1.").ids == Ids{5, 7, 5, 6, 6, 5, 8});
  CHECK(tokenizer.encode("abd bc ..").ids == Ids{1, 1, 1});
  CHECK(tokenizer.encode("").ids.empty());
  CHECK(tokenizer.continues_word(6));
  CHECK(!tokenizer.continues_word(5));
  CHECK(!tokenizer.continues_word(9));
  CHECK(!tokenizer.continues_word(-1));
}

TEST_CASE("added tokens are found as written, wherever they stand") {
  const ReportTokenizer tokenizer = ReportTokenizer::parse(tokenizer_json(kSmall).dump(), "t.json");
  CHECK(tokenizer.encode("[CLS] a").ids == Ids{2, 5});
  CHECK(tokenizer.encode("a[MASK]b[PAD][SEP]").ids == Ids{5, 3, 1, 0, 4});
  CHECK(tokenizer.encode("[cls]").ids == Ids{1, 1, 1});
  CHECK(tokenizer.encode("[[CLS]]").ids == Ids{1, 2, 1});
}

TEST_CASE("of added tokens that begin at one place the longest is taken") {
  Json file = tokenizer_json({"[PAD]", "[UNK]", "[CLS]", "[MASK]", "[SEP]", "<", "<a", "a"});
  Json token = file["added_tokens"][0];
  Json added = file["added_tokens"];
  added.push(Json(token).set("id", 5).set("content", "<")).push(Json(token).set("id", 6).set("content", "<a"));
  const ReportTokenizer tokenizer = ReportTokenizer::parse(file.set("added_tokens", added).dump(), "t.json");
  CHECK(tokenizer.encode("<<a<").ids == Ids{5, 6, 5});
}

TEST_CASE("a text gets as many ids as are asked for, and says how many are its own") {
  const ReportTokenizer tokenizer = ReportTokenizer::parse(tokenizer_json(kSmall).dump(), "t.json");
  const ReportIds padded = tokenizer.encode("a .", {4, 4});
  CHECK(padded.ids == Ids{5, 8, 0, 0});
  CHECK(padded.used == 2);
  const ReportIds cut = tokenizer.encode("a . a . a", {3, 3});
  CHECK(cut.ids == Ids{5, 8, 5});
  CHECK(cut.used == 3);
  CHECK(tokenizer.encode("a . a", {1, 2}).ids == Ids{5, 0});
  CHECK(tokenizer.encode("a", {0, 0}).ids.empty());
}

TEST_CASE("a piece's prefix, the unknown entry and the longest word are the file's") {
  Json file = tokenizer_json({"[PAD]", "[UNK]", "[CLS]", "[MASK]", "[SEP]", "a", "@b", "##b", "what"});
  Json model = file["model"];
  model.set("continuing_subword_prefix", "@").set("unk_token", "what").set("max_input_chars_per_word", 3);
  const ReportTokenizer tokenizer = ReportTokenizer::parse(file.set("model", model).dump(), "t.json");
  CHECK(tokenizer.encode("abb abbb").ids == Ids{5, 6, 6, 8});
  CHECK(tokenizer.continues_word(6));
  CHECK(!tokenizer.continues_word(7));
}

TEST_CASE("what a tokenizer's file does that this one does not is named") {
  CHECK(refusal("\"WordPiece\"", "\"BPE\"") == "t.json.model is 'BPE', only WordPiece is known here");
  CHECK(refusal("{\"type\":\"NFKD\"},", "") == "t.json.normalizer.normalizers must be Lowercase, NFKD, StripAccents");
  CHECK(refusal("\"NFKD\"", "\"NFD\"") == "t.json.normalizer.normalizers[1] is 'NFD', only NFKD is known here");
  CHECK(refusal("\"type\":\"Sequence\"", "\"type\":\"BertNormalizer\"") ==
        "t.json.normalizer is 'BertNormalizer', only Sequence is known here");
  CHECK(refusal("\"Whitespace\"", "\"WhitespaceSplit\"") ==
        "t.json.pre_tokenizer.pretokenizers[0] is 'WhitespaceSplit', only Whitespace is known here");
  CHECK(refusal("\"individual_digits\":false", "\"individual_digits\":true") ==
        "t.json.pre_tokenizer.pretokenizers[1] splits digits apart; only numbers that stay together are known");
  for (const char* key : {"truncation", "padding", "post_processor"}) {
    const std::string null = "\"" + std::string(key) + "\":null", given = "\"" + std::string(key) + "\":{}";
    CHECK(refusal(null, given) == "t.json." + std::string(key) + " is given; only files without one are known");
  }
  for (const char* flag : {"single_word", "lstrip", "rstrip", "normalized"}) {
    const std::string off = "\"" + std::string(flag) + "\":false", on = "\"" + std::string(flag) + "\":true";
    CHECK(refusal(off, on) == "t.json.added_tokens[0] ('[PAD]') has " + std::string(flag) +
                                  "; only tokens that are matched as written are known");
  }
}

TEST_CASE("every defect of a vocabulary is named") {
  CHECK(refusal("\"a\":5", "\"a\":9") == "t.json.model.vocab: entry 'a' has the id 9; 9 entries have the ids 0 to 8");
  CHECK(refusal("\"a\":5", "\"a\":-1") == "t.json.model.vocab: entry 'a' has the id -1; 9 entries have the ids 0 to 8");
  CHECK(refusal("\"a\":5", "\"a\":8") == "t.json.model.vocab: the entries 'a' and '.' have the same id 8");
  CHECK(refusal("\"a\":5", "\"a\":5.5") == "t.json.model.vocab['a']: JSON number 5.5 is not a 64-bit integer");
  CHECK(refusal("\"a\":5", "\"a\":\"5\"") == "t.json.model.vocab['a']: JSON value is a string, needs a number");
  CHECK(refusal("\"a\":5", "\"a\":1e300") != "");
  CHECK(refusal("\"a\":5", "\"a\":9223372036854775807") ==
        "t.json.model.vocab: entry 'a' has the id 9223372036854775807; 9 entries have the ids 0 to 8");
  CHECK(refusal("\"a\":5", "\".\":5").find("t.json: not JSON") == 0);  // a key that comes twice
  CHECK(refusal("\"unk_token\":\"[UNK]\"", "\"unk_token\":\"<unk>\"") ==
        "t.json: a vocabulary of 9 entries without '<unk>'");
  CHECK(refusal("\"content\":\"[SEP]\"", "\"content\":\"[PAD]\"") ==
        "t.json.added_tokens[4]: '[PAD]' with the id 4 is not in the vocabulary so");
  CHECK(refusal("\"id\":4", "\"id\":400") ==
        "t.json.added_tokens[4]: '[SEP]' with the id 400 is not in the vocabulary so");
  CHECK(refusal("\"id\":4,\"content\":\"[SEP]\"", "\"id\":0,\"content\":\"[PAD]\"") ==
        "t.json.added_tokens[4]: '[PAD]' is added twice");
  CHECK(refusal("\"id\":4,\"content\":\"[SEP]\"", "\"id\":5,\"content\":\"a\"") == "t.json.added_tokens lack '[SEP]'");
  CHECK(refusal("\"max_input_chars_per_word\":100", "\"max_input_chars_per_word\":1000000") ==
        "t.json.model.max_input_chars_per_word is 1000000, 1 to 1000 are known");
  CHECK(refusal("\"continuing_subword_prefix\":\"##\"", "\"continuing_subword_prefix\":\"\"") ==
        "t.json.model.continuing_subword_prefix has 0 bytes, 1 to 16 are known");
}

TEST_CASE("a file that is no tokenizer is one clear error") {
  CHECK(refusal_of("").find("t.json: not JSON") == 0);
  CHECK(refusal_of("[]") == "t.json must be an object");
  CHECK(refusal_of("{}") == "t.json: no \"model\"");
  CHECK(refusal_of("{\"model\": 1}") == "t.json.model must be an object");
  CHECK(refusal_of("{\"model\": {\"type\": 3}}") == "t.json.model.type: JSON value is a number, needs a string");
  CHECK(refusal("\"vocab\":{", "\"vocabulary\":{") == "t.json.model: no \"vocab\"");
  CHECK(refusal("\"added_tokens\":[", "\"added_tokens\":[7,") == "t.json.added_tokens[0] must be an object");
  CHECK(refusal("\"normalizers\":[", "\"normalizers\":[[],") ==
        "t.json.normalizer.normalizers must be Lowercase, NFKD, StripAccents");
  const std::string whole = tokenizer_json(kSmall).dump();
  for (size_t length = 0; length < whole.size(); length += 37) CHECK(refusal_of(whole.substr(0, length)) != "");
  CHECK(refusal_of(repeated("[", 100000)) != "");
  CHECK(refusal_of(std::string((16 << 20) + 1, ' ')) ==
        "t.json: a tokenizer of 16777217 bytes, at most 16777216 are read");
}

TEST_CASE("a vocabulary of too many entries is refused") {
  std::string entries = "\"x0\":0";
  for (int i = 1; i <= 200000; ++i) entries += ",\"x" + std::to_string(i) + "\":" + std::to_string(i);
  const std::string whole = tokenizer_json(kSmall).dump();
  const size_t at = whole.find("\"vocab\":{") + 9, end = whole.find('}', at);
  CHECK(refusal_of(whole.substr(0, at) + entries + whole.substr(end)) ==
        "t.json.model.vocab has 200001 entries, 1 to 200000 are read");
}

TEST_CASE("a tokenizer is read from a file, and a missing one is an error") {
  const TempDir folder;
  write_bytes(folder / "t.json", tokenizer_json(kSmall).dump());
  CHECK(ReportTokenizer::read(folder / "t.json").size() == 9);
  CHECK_THROWS_AS(ReportTokenizer::read(folder / "absent.json"), Error);
  CHECK_THROWS_AS(ReportTokenizer::read(folder.path()), Error);
}

TEST_CASE("malformed UTF-8 in a report is one clear error, and texts made to be slow end promptly") {
  const ReportTokenizer tokenizer = ReportTokenizer::parse(tokenizer_json(kSmall).dump(), "t.json");
  CHECK_THROWS_WITH(tokenizer.encode("a\xFF"), "a report is not UTF-8: byte 1 of 2 starts no well-formed character");
  const auto start = std::chrono::steady_clock::now();
  CHECK(tokenizer.encode(std::string(1 << 20, 'a')).ids == Ids{1});
  CHECK(tokenizer.encode(repeated("[CLS", 1 << 16)).ids.size() == 1 << 17);
  CHECK(tokenizer.encode(repeated("[CLS]", 1 << 16)).ids.size() == 1 << 16);
  CHECK(tokenizer.encode(repeated("\xEF\xB7\xBA", 1 << 14)).used > 0);  // 18 characters for one
  CHECK(tokenizer.encode("a" + repeated("\xCC\xA3\xCC\x81", 1 << 16)).ids == Ids{5});
  CHECK(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() < 20);
}

}  // namespace sat::test
