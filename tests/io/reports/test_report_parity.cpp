// Claims: ids, masks, draws and weights of reports are the recorded ones of ECAMP's own code and tokenizer; so is what
// becomes of every code point.
#include <doctest/doctest.h>

#include "sat/io/files/hash.h"
#include "sat/io/reports/characters.h"
#include "sat/io/reports/report_masking.h"
#include "sat/io/words/unicode.h"
#include "tests/io/reports/tokenizer_file.h"
#include "tests/support/checkpoint_bytes.h"
#include "tests/support/golden.h"
#include "tests/support/parity/report_parity.h"

namespace sat::test {
namespace {

ReportTokenizer recorded_tokenizer() { return ReportTokenizer::parse(recorded_tokenizer_json(), "recorded.json"); }

/// A row of the published examples.
struct Example {
  const char* stream;
  const char* text;
  std::vector<int64_t> masked, descriptors;
  int64_t draws;
};

}  // namespace

TEST_CASE("every recorded text, mask and weight is met") {
  const TempDir folder;
  write_bytes(folder / "tokenizer.json", recorded_tokenizer_json());
  const std::vector<ParityLine> lines = compare_report_masking(golden_path("reports"), folder / "tokenizer.json");
  CHECK(lines.size() == 19);
  for (const ParityLine& line : lines) {
    CAPTURE(line.quantity);
    CAPTURE(line.error);
    CHECK(line.passed());
  }
}

TEST_CASE("texts with added tokens, odd spaces, digits and signs get the library's ids") {
  const ReportTokenizer tokenizer = recorded_tokenizer();
  const Json texts = Json::parse(read_text(golden_path("reports/awkward.json")), "awkward.json");
  CHECK(texts.size() == 27);
  for (const Json& text : texts.items()) {
    CAPTURE(text["text"].string());
    CHECK(tokenizer.encode(text["text"].string()).ids == text["ids"].integers());
  }
}

TEST_CASE("every code point is normalised and split as the library does it") {
  const Json recorded = Json::parse(read_text(golden_path("reports/unicode_blocks.json")), "unicode_blocks.json");
  const std::vector<std::string> blocks = recorded["blocks"].strings();
  const auto size = char32_t(recorded["block"].integer());
  REQUIRE(blocks.size() * size == 0x110000);
  for (size_t block = 0; block < blocks.size(); ++block) {
    std::string lines;
    for (char32_t c = char32_t(block) * size; c < char32_t(block + 1) * size; ++c) {
      std::string line;
      if (c < 0xD800 || c > 0xDFFF) {
        for (const std::u32string& word : split_report(normalise_report(std::u32string{U'A', c, U'1'}))) {
          line += (line.empty() ? "" : " ") + encode_utf8(word);
        }
      }
      lines += line + "\n";
    }
    CAPTURE(block);
    CHECK(sha256(lines).substr(0, 16) == blocks[block]);
  }
}

TEST_CASE("the specification's examples of tokens are met") {
  const ReportTokenizer tokenizer = recorded_tokenizer();
  using Ids = std::vector<int64_t>;
  CHECK(tokenizer.encode("Heart size is top-normal, 2.5 cm nodule.").ids ==
        Ids{383, 380, 149, 951, 15, 281, 14, 20, 16, 23, 726, 1014, 16});
  CHECK(tokenizer.encode("hyperinflated lungs consistent with COPD").ids == Ids{1118, 344, 772, 171, 1127});
  CHECK(tokenizer.encode(". .. ... ___ ").ids == Ids{16, 2972, 8303, 150});
  for (const auto& [entity, id] : std::vector<std::pair<std::string, int64_t>>{
           {"abscess", 2887}, {"dilation", 4024}, {"obscure", 4210}, {"tuberculosis", 2802}, {"vasculature", 769}}) {
    CHECK(tokenizer.id_of(entity) == id);
  }
  for (const char* never : {"aerate", "hyperinflate", "COPD"}) CHECK(!tokenizer.find(never));
}

TEST_CASE("the specification's examples of masking are met") {
  const ReportTokenizer tokenizer = recorded_tokenizer();
  const std::vector<Example> examples = {
      {"rng_a",
       "There is no evidence of pneumothorax. Small right pleural effusion appears new. There is mild edema.",
       {2, 3, 3, 152, 3, 3, 3, 16, 3, 207, 221, 3, 798, 3, 3, 219, 149, 3, 339, 16},
       {5, 4, 10, 9, 17, 16},
       22},
      {"rng_b", "Lungs are clear. There is no free air.", {2, 3, 3, 359, 16, 3, 149, 3, 3, 3, 16}, {}, 10},
      {"rng_c",
       "There is no pneumothorax. Bibasilar atelectasis is unchanged; no consolidation.",
       {2, 3, 3, 3, 258, 3, 645, 3, 3, 3, 29, 152, 3, 16},
       {3, 2, 6, 11, 10},
       16},
      {"rng_d",
       "Small hyperinflated lungs with pleural effusions and mild cardiomegaly.",
       {2, 3, 3, 3, 171, 3, 3, 3, 3, 3, 3},
       {8, 7},
       11},
      {"rng_e",
       "Xyzzyx effusionology without atelectasisness or nodularityish densities 12.5 cm.",
       {2, 3, 3, 3, 3, 3, 1356, 567, 3, 623, 256, 4256, 3981, 3, 3, 3, 23, 3, 3},
       {4, 3, 7, 6},
       14}};
  for (const Example& example : examples) {
    CAPTURE(example.stream);
    int64_t draws = 0;
    const ReportIds report = tokenizer.encode(std::string("[CLS] ") + example.text, {256, 256});
    const MaskedReport masked = mask_entities(report.ids, tokenizer, [&, stream = unit_stream(example.stream)] {
      ++draws;
      return stream();
    });
    std::vector<int64_t> want = example.masked;
    want.resize(256, 0);
    CHECK(masked.ids == want);
    CHECK(masked.descriptors == example.descriptors);
    CHECK(draws == example.draws);
  }
  const ReportIds clear = tokenizer.encode(std::string("[CLS] ") + examples[1].text, {256, 256});
  const std::vector<float> weights = token_weights(clear.ids, {}, tokenizer);
  for (size_t i = 0; i < weights.size(); ++i) {
    CHECK(weights[i] == doctest::Approx(i >= 5 && i <= 7 ? 0.0505629 : 1.0112581).epsilon(1e-6));
  }
}

}  // namespace sat::test
