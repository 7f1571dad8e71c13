// Claims: a bank gives the queries that its text encoder would, bit for bit through its file; the shipped bank gives
// the recorded ones; an unknown phrase is answered with the nearest known; a damaged bank is refused.
#include <doctest/doctest.h>

#include <cstring>
#include <fstream>
#include <limits>

#include "sat/io/checkpoints/safetensors.h"
#include "sat/nn/text/embedding_bank.h"
#include "tests/support/golden.h"

namespace sat::test {
namespace {

EmbeddingBank small_bank() {
  EmbeddingBank bank;
  bank.phrases = {"Liver", "left kidney", "right kidney", "Ménière's disease"};
  bank.embeddings = field("embeddings", {4, 6}, 1);
  bank.modality_embed = field("modality", {4, 6}, 1);
  bank.text = native_text_config(TextKind::ours);
  bank.text_identity = std::string(64, 'a');
  bank.model_identity = std::string(64, 'b');
  return bank;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape == b.shape && std::memcmp(a.raw(), b.raw(), size_t(a.bytes())) == 0;
}

using Metadata = std::map<std::string, std::string>;
using Tensors = std::map<std::string, Tensor>;

/// The parts of a bank's file, for tests that change one of them.
std::pair<Tensors, Metadata> parts() {
  const TempDir folder;
  const std::string path = folder / "bank.safetensors";
  write_bank(path, small_bank());
  const Checkpoint file = read_safetensors(path);
  Tensors tensors;
  for (const Weights::Entry& entry : file.weights.entries()) tensors[entry.name] = entry.load().clone();
  return {tensors, file.metadata};
}

template <class Change>
std::string error_after(Change change) {
  auto [tensors, metadata] = parts();
  change(tensors, metadata);
  const TempDir folder;
  const std::string path = folder / "bank.safetensors";
  write_safetensors(path, tensors, metadata);
  try {
    read_bank(path);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("a bank comes back from its file with the same bits and the same origins") {
  const TempDir folder;
  const std::string path = folder / "bank.safetensors";
  const EmbeddingBank bank = small_bank();
  write_bank(path, bank);
  const EmbeddingBank back = read_bank(path);
  CHECK(is_bank(path));
  CHECK(back.phrases == bank.phrases);
  CHECK(same_bits(back.embeddings, bank.embeddings));
  CHECK(same_bits(back.modality_embed, bank.modality_embed));
  CHECK(to_json(back.text).dump() == to_json(bank.text).dump());
  CHECK(back.text_identity == bank.text_identity);
  CHECK(back.model_identity == bank.model_identity);
  CHECK(back.source == path);

  EmbeddingBank nameless = bank;
  nameless.text_identity = nameless.model_identity = "";
  write_bank(path, nameless);
  CHECK(read_bank(path).text_identity.empty());
  CHECK(read_bank(path).model_identity.empty());
}

TEST_CASE("a query is the phrase's embedding and the modality's row, however the prompt is spelled") {
  const EmbeddingBank bank = small_bank();
  const Tensor queries = bank_queries(bank, {"left kidney", " LIVER\n", "MÉNIÈRE'S disease", "liver"}, "T1 MRI");
  CHECK(queries.shape == Shape({4, 6}));
  const int64_t rows[] = {1, 0, 3, 0};
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t c = 0; c < 6; ++c) {
      const float want = bank.embeddings.data<float>()[rows[i] * 6 + c] + bank.modality_embed.data<float>()[6 + c];
      CHECK(queries.data<float>()[i * 6 + c] == want);
    }
  }
  CHECK(bank_queries(bank, {}, "ct").shape == Shape({0, 6}));
  CHECK_THROWS_AS(bank_queries(bank, {"liver"}, "x-ray"), Error);
  CHECK_THROWS_WITH_AS(bank_queries(bank, {"liver"}, "microscopy"), doctest::Contains("the table has 4 rows"), Error);
}

TEST_CASE("a phrase that the bank does not hold is answered with the nearest ones") {
  const EmbeddingBank bank = small_bank();
  CHECK_THROWS_WITH_AS(bank_queries(bank, {"liver", "left kidny"}, "ct"),
                       doctest::Contains("prompt 'left kidny' is not among the 4 phrases; did you mean 'left kidney'"),
                       Error);
  CHECK_THROWS_AS(bank_queries(bank, {""}, "ct"), Error);
  CHECK_THROWS_AS(bank_queries(bank, {std::string(1 << 20, 'x')}, "ct"), Error);
  CHECK_THROWS_AS(bank_queries(bank, {"li\xFFver"}, "ct"), Error);
}

TEST_CASE("the shipped bank gives the recorded queries of the small trained model") {
  const EmbeddingBank bank = read_bank(source_path("weights/sat-small-bank.safetensors"));
  CHECK(bank.phrases.size() == 103);
  const Tensor ct = bank_queries(bank,
                                 {"brainstem", "spinal cord", "right parotid gland", "left parotid gland", "esophagus",
                                  "larynx", "mandible", "parotid gland on the left side", "liver"},
                                 "ct");
  CHECK(mismatch(ct, read_npy(golden_path("trained-small/golden-ct/queries.npy")), {0, 1e-5}) == "");
  const Tensor mri = bank_queries(
      bank, {"anterior hippocampus", "posterior hippocampus", "hippocampus", "hippocampal structure", "mandible"},
      "mri");
  CHECK(mismatch(mri, read_npy(golden_path("trained-small/golden-mri/queries.npy")), {0, 1e-5}) == "");
}

TEST_CASE("a bank that does not fit together is refused, saying why") {
  CHECK(error_after([](Tensors&, Metadata&) {}) == "");
  CHECK(contains(error_after([](Tensors&, Metadata& m) { m.erase("format"); }), "without \"format\""));
  CHECK(contains(error_after([](Tensors&, Metadata& m) { m["format"] = "pt"; }), "format is 'pt'"));
  CHECK(contains(error_after([](Tensors&, Metadata& m) { m["version"] = "2"; }), "version '2'"));
  CHECK(contains(error_after([](Tensors&, Metadata& m) { m["phrases"] = "[\"liver\"]"; }), "1 phrases"));
  CHECK(contains(error_after([](Tensors&, Metadata& m) { m["phrases"] = "[\"a\", \"b\", \"c\", \" A\"]"; }), "twice"));
  CHECK(error_after([](Tensors&, Metadata& m) { m["phrases"] = "[1, 2, 3, 4]"; }) != "");
  CHECK(error_after([](Tensors&, Metadata& m) { m["phrases"] = "[\"liver\""; }) != "");
  CHECK(contains(error_after([](Tensors&, Metadata& m) { m["text"] = "{\"kind\": \"theirs\"}"; }), "'theirs'"));
  CHECK(contains(error_after([](Tensors&, Metadata& m) { m["text_sha256"] = "12"; }), "64 hex digits"));
  CHECK(contains(error_after([](Tensors& t, Metadata&) { t["extra"] = zeros({1}); }), "no tensor 'extra'"));
  CHECK(contains(error_after([](Tensors& t, Metadata&) { t.erase("modality_embed"); }), "'modality_embed'"));
  CHECK(contains(error_after([](Tensors& t, Metadata&) { t["modality_embed"] = zeros({3, 6}); }), "[3, 6]"));
  CHECK(contains(error_after([](Tensors& t, Metadata&) { t["modality_embed"] = zeros({4, 5}); }), "[4, 5]"));
  CHECK(contains(error_after([](Tensors& t, Metadata&) { t["embeddings"] = zeros({24}); }), "[24]"));
  CHECK(contains(error_after([](Tensors& t, Metadata&) {
                   t["embeddings"] = from_ids({4, 6}, std::vector<int64_t>(24));
                 }),
                 "must be floats"));
  CHECK(contains(error_after([](Tensors& t, Metadata&) {
                   t["embeddings"].data<float>()[7] = std::numeric_limits<float>::quiet_NaN();
                 }),
                 "at element 7"));
}

TEST_CASE("a bank that could not be read is not written") {
  const TempDir folder;
  EmbeddingBank bank = small_bank();
  bank.phrases.pop_back();
  CHECK_THROWS_AS(write_bank(folder / "bank.safetensors", bank), Error);
  bank = small_bank();
  bank.text_identity = "unknown";
  CHECK_THROWS_AS(write_bank(folder / "bank.safetensors", bank), Error);
  CHECK_FALSE(std::ifstream(folder / "bank.safetensors").good());
}

}  // namespace sat::test
