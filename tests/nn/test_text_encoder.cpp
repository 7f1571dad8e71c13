// Claims: a prompt's query has the same bits whatever else is asked, and a checkpoint that is not exactly one of SAT's
// encoders is refused by name. Recorded values are test_text_parity.cpp's.
#include <doctest/doctest.h>

#include <cstring>
#include <map>

#include "sat/nn/text/embedding_bank.h"
#include "sat/nn/text/mpnet.h"
#include "sat/tensor/context.h"
#include "tests/support/golden.h"
#include "tests/support/text_model.h"

namespace sat::test {
namespace {

const Json& recorded() {
  static const Json json = [] {
    const std::string path = golden_path("text/values.json");
    return Json::parse(read_text(path), path);
  }();
  return json;
}

/// A narrow encoder as the recorded `ours_small` or `basebert_small` had it.
NamedShapes small_shapes(TextKind kind) {
  const Json& part = recorded()[kind == TextKind::ours ? "ours_small" : "basebert_small"];
  return text_encoder_shapes(recorded_sizes(part["config"]), kind);
}

TextEncoderConfig small_config(TextKind kind) {
  TextEncoderConfig config = published_text_config(kind);
  config.heads = 4;
  return config;
}

TextEncoder small_encoder(TextKind kind) {
  return TextEncoder(text_weights({generated_text_weights(small_shapes(kind), "module.")}), published_vocabulary(kind),
                     small_config(kind));
}

std::string error_of(const NamedShapes& shapes, TextKind kind, const std::string& published = "module.") {
  try {
    TextEncoder(text_weights({generated_text_weights(shapes, published)}), published_vocabulary(kind),
                small_config(kind));
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape == b.shape && std::memcmp(a.raw(), b.raw(), size_t(a.bytes())) == 0;
}

std::vector<std::string> recorded_texts(const std::string& part) {
  std::vector<std::string> texts;
  for (const Json& item : recorded()[part]["texts"].items()) texts.push_back(item["text"].string());
  return texts;
}

}  // namespace

TEST_CASE("relative positions far beyond any length fall into the last buckets") {
  CHECK(relative_position_bucket(int64_t(1) << 40) == 31);
  CHECK(relative_position_bucket(-(int64_t(1) << 40)) == 15);
}

TEST_CASE("a prompt's query has the same bits alone, among others, in any order and for any number of threads") {
  for (TextKind kind : {TextKind::ours, TextKind::basebert}) {
    const TextEncoder encoder = small_encoder(kind);
    std::vector<std::string> texts = recorded_texts("ours_full");
    texts.push_back(texts.front());
    ContextOptions options;
    options.threads = 3;
    Context threads(options);
    const Tensor together = encoder.encode(texts, "ct");
    const std::vector<std::string> backwards(texts.rbegin(), texts.rend());
    const Tensor reversed = [&] {
      UseContext use(threads);
      return encoder.encode(backwards, "ct");
    }();
    CHECK(together.shape == Shape({int64_t(texts.size()), 64}));
    for (size_t i = 0; i < texts.size(); ++i) {
      CAPTURE(texts[i]);
      CHECK(same_bits(together.slice(int64_t(i), int64_t(i) + 1), encoder.encode({texts[i]}, "ct")));
      CHECK(same_bits(together.select(int64_t(i)), reversed.select(int64_t(texts.size() - 1 - i))));
    }
  }
  CHECK(small_encoder(TextKind::ours).encode({}, "ct").shape == Shape({0, 64}));
}

TEST_CASE("published files load with or without 'module.', position_ids, pooler and pre-training parts") {
  for (TextKind kind : {TextKind::ours, TextKind::medcpt}) {
    const std::string at = kind == TextKind::ours ? "text_tower.biolord." : "model.";
    NamedShapes shapes = small_shapes(kind);
    CHECK(error_of(shapes, kind) == "");
    CHECK(error_of(shapes, kind, "") == "");
    shapes[at + "embeddings.position_ids"] = Shape{1, 514};
    add_linear(shapes, at + "pooler.dense", 64, 64);
    shapes["atlas_tower.layer.weight"] = Shape{3, 3};
    shapes["temperature"] = Shape{};
    shapes["modality_embed.weight"] = Shape{5, 64};
    CHECK(error_of(shapes, kind) == "");
  }
}

TEST_CASE("a checkpoint with a missing, foreign or mis-shaped tensor is refused by its name") {
  const NamedShapes good = small_shapes(TextKind::ours);
  const auto without = [&](const std::string& name) {
    NamedShapes shapes = good;
    REQUIRE(shapes.erase(name) == 1);
    return error_of(shapes, TextKind::ours);
  };
  for (const char* name : {"text_tower.biolord.encoder.layer.1.attention.attn.o.bias", "projection_layer.2.weight",
                           "modality_embed.weight", "text_tower.biolord.embeddings.LayerNorm.bias",
                           "text_tower.biolord.encoder.relative_attention_bias.weight"}) {
    CHECK(contains(without(name), "'" + std::string(name) + "'"));
  }
  const auto with = [&](const std::string& name, const Shape& shape) {
    NamedShapes shapes = good;
    shapes[name] = shape;
    return error_of(shapes, TextKind::ours);
  };
  CHECK(contains(with("text_tower.biolord.encoder.layer.0.extra.weight", {2}),
                 "'text_tower.biolord.encoder.layer.0.extra.weight'"));
  CHECK(contains(with("backbone.encoder.weight", {2}), "no tensor 'backbone.encoder.weight'"));
  CHECK(contains(with("modality_embed.weight", {3, 64}), "[3, 64]"));
  CHECK(contains(with("modality_embed.weight", {4, 32}), "[4, 32]"));
  CHECK(contains(with("projection_layer.0.bias", {63}), "projection_layer.0.bias"));
  CHECK(contains(with("text_tower.biolord.encoder.relative_attention_bias.weight", {32, 5}), "[32, 5]"));
  CHECK(contains(with("text_tower.biolord.embeddings.word_embeddings.weight", {30522, 64}), "30522"));
  CHECK(error_of(good, TextKind::basebert) != "");
  CHECK_THROWS_WITH_AS(recognise_text_kind(generated_text_weights({{"backbone.weight", Shape{1}}})),
                       doctest::Contains("not a text encoder"), Error);
}

TEST_CASE("a plain sentence encoder takes its place in SAT, alone or with a projection from another file") {
  const TextBackboneConfig c = recorded_sizes(recorded()["ours_small"]["config"]);
  // Weights are generated from the names in SAT, so that the values agree with the whole encoder's.
  std::vector<Weights::Entry> plain, projection;
  for (const auto& [name, shape] : small_shapes(TextKind::ours)) {
    const std::string place = "text_tower.biolord.";
    const auto load = [n = name, s = shape] { return generated_weight(n, s); };
    if (name.compare(0, place.size(), place) == 0) {
      plain.push_back({name.substr(place.size()), shape, DType::f32, load});
    } else {
      projection.push_back({"module." + name, shape, DType::f32, load});
    }
  }
  const Weights alone = text_weights({Weights(plain, "plain")});
  CHECK(recognise_text_kind(alone) == TextKind::ours);
  const TextEncoder sentence(alone, published_vocabulary(TextKind::ours), native_text_config(TextKind::ours));
  CHECK_FALSE(sentence.gives_queries());
  CHECK(sentence.tokens("Liver").ids == std::vector<int64_t>{0, 11294, 2});
  CHECK(sentence.tokens("Liver").attended == std::vector<uint8_t>{1, 1, 1});
  CHECK(sentence.pooled({"liver", "kidney"}).shape == Shape({2, c.hidden}));
  CHECK_THROWS_WITH_AS(sentence.encode({"liver"}, "ct"), doctest::Contains("plain: a plain sentence encoder"), Error);

  const Weights both = text_weights({Weights(plain, "plain"), Weights(projection, "projection")});
  const TextEncoder whole(both, published_vocabulary(TextKind::ours), small_config(TextKind::ours));
  const Tensor want = small_encoder(TextKind::ours).encode({"left kidney"}, "pet");
  CHECK(same_bits(whole.encode({"left kidney"}, "pet"), want));

  const Weights bert =
      text_weights({generated_text_weights(backbone_shapes(recorded_sizes(recorded()["bert"]["config"]), false))});
  CHECK(recognise_text_kind(bert) == TextKind::basebert);
  CHECK_THROWS_WITH_AS(text_weights({Weights(plain, "a"), Weights(plain, "b")}), doctest::Contains("appears twice"),
                       Error);
}

TEST_CASE("a bank made by an encoder gives the encoder's queries bit for bit") {
  for (TextKind kind : {TextKind::ours, TextKind::medcpt}) {
    const TextEncoder encoder = small_encoder(kind);
    const std::vector<std::string> phrases{"liver", "left kidney", "brain tumor: enhancing"};
    const EmbeddingBank bank = make_bank(encoder, phrases, "", "");
    CHECK(same_bits(bank_queries(bank, phrases, "pet"), encoder.encode(phrases, "pet")));
    CHECK(bank.text.kind == encoder.config().kind);
  }
}

TEST_CASE("settings survive their JSON form, and a wrong one is named") {
  for (TextEncoderConfig config : {published_text_config(TextKind::ours), published_text_config(TextKind::medcpt),
                                   native_text_config(TextKind::ours), small_config(TextKind::basebert)}) {
    const Json json = to_json(config);
    CHECK(to_json(text_config_from_json(json, "test")).dump() == json.dump());
  }
  const auto parsed = [](const char* text) { return text_config_from_json(Json::parse(text, "test"), "test"); };
  CHECK(parsed(R"({"kind": "medcpt"})").max_tokens == 64);
  CHECK(parsed(R"({"kind": "ours", "start": "<s>"})").start == "<s>");
  CHECK_THROWS_AS(parsed("{}"), Error);
  CHECK_THROWS_AS(parsed(R"({"kind": "biobert"})"), Error);
  CHECK_THROWS_AS(parsed(R"({"kind": "ours", "pooling": "max"})"), Error);
  CHECK_THROWS_AS(parsed(R"({"kind": "ours", "lenght": 3})"), Error);

  const Weights weights = text_weights({generated_text_weights(small_shapes(TextKind::ours))});
  TextEncoderConfig config = small_config(TextKind::ours);
  config.max_tokens = 513;
  CHECK_THROWS_WITH_AS(TextEncoder(weights, published_vocabulary(TextKind::ours), config),
                       doctest::Contains("2 to 512"), Error);
  config = small_config(TextKind::ours);
  config.start = "[BEGIN]";
  CHECK_THROWS_WITH_AS(TextEncoder(weights, published_vocabulary(TextKind::ours), config),
                       doctest::Contains("'[BEGIN]'"), Error);
}

TEST_CASE("a modality's name is read as SAT reads it") {
  const std::map<std::string, int64_t> want{{"CT", 0},     {"ct", 0},  {"spect", 0}, {"MRI ADC", 1},   {"t1w", 1},
                                            {"FLAIR", 1},  {"dwi", 1}, {"MR", 1},    {"pet", 3},       {"FDG-PET", 3},
                                            {"PET/CT", 0}, {"us", 2},  {"US", 2},    {"microscopy", 4}};
  for (const auto& each : want) {
    CAPTURE(each.first);
    CHECK(modality_code(each.first) == each.second);
  }
  for (const char* name : {"", "x-ray", "usa"}) CHECK_THROWS_AS(modality_code(name), Error);
  CHECK_THROWS_WITH_AS(small_encoder(TextKind::ours).encode({"liver"}, "microscopy"),
                       doctest::Contains("the table has 4 rows"), Error);
}

}  // namespace sat::test
