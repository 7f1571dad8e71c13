// Claims: BERT, MPNet and SAT's three encoders around them give the recorded values; a prompt's query has the same bits
// whatever else is asked; and a checkpoint that is not exactly one of these encoders is refused by name.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <map>

#include "sat/nn/bert.h"
#include "sat/nn/embedding_bank.h"
#include "sat/nn/mpnet.h"
#include "sat/nn/text_encoder.h"
#include "sat/tensor/context.h"
#include "tests/support/golden.h"

namespace sat::test {
namespace {

using Shapes = std::map<std::string, Shape>;

const Json& recorded() {
  static const Json json = [] {
    const std::string path = golden_path("text/values.json");
    return Json::parse(read_text(path), path);
  }();
  return json;
}

TextBackboneConfig sizes_of(const Json& json) {
  TextBackboneConfig config;
  config.vocabulary = json["vocabulary"].integer();
  config.hidden = json["hidden"].integer();
  config.layers = json["layers"].integer();
  config.heads = json["heads"].integer();
  config.feedforward = json["feed_forward"].integer();
  config.positions = json["positions"].integer();
  config.eps = float(json["layer_norm_eps"].number());
  return config;
}

void add_linear(Shapes& shapes, const std::string& name, int64_t in, int64_t out) {
  shapes[name + ".weight"] = Shape{out, in};
  shapes[name + ".bias"] = Shape{out};
}

void add_norm(Shapes& shapes, const std::string& name, int64_t channels) {
  shapes[name + ".weight"] = shapes[name + ".bias"] = Shape{channels};
}

Shapes backbone_shapes(const TextBackboneConfig& c, bool mpnet, const std::string& at = "") {
  Shapes shapes;
  shapes[at + "embeddings.word_embeddings.weight"] = Shape{c.vocabulary, c.hidden};
  shapes[at + "embeddings.position_embeddings.weight"] = Shape{c.positions, c.hidden};
  add_norm(shapes, at + "embeddings.LayerNorm", c.hidden);
  if (mpnet) {
    shapes[at + "encoder.relative_attention_bias.weight"] = Shape{32, c.heads};
  } else {
    shapes[at + "embeddings.token_type_embeddings.weight"] = Shape{2, c.hidden};
  }
  for (int64_t l = 0; l < c.layers; ++l) {
    const std::string layer = at + "encoder.layer." + std::to_string(l) + ".";
    for (const char* name : {"q", "k", "v", "o"}) {
      if (mpnet) add_linear(shapes, layer + "attention.attn." + name, c.hidden, c.hidden);
    }
    for (const char* name : {"self.query", "self.key", "self.value", "output.dense"}) {
      if (!mpnet) add_linear(shapes, layer + "attention." + name, c.hidden, c.hidden);
    }
    add_norm(shapes, layer + (mpnet ? "attention.LayerNorm" : "attention.output.LayerNorm"), c.hidden);
    add_linear(shapes, layer + "intermediate.dense", c.hidden, c.feedforward);
    add_linear(shapes, layer + "output.dense", c.feedforward, c.hidden);
    add_norm(shapes, layer + "output.LayerNorm", c.hidden);
  }
  return shapes;
}

/// A narrow encoder as the recorded `ours_small` or `basebert_small` had it.
Shapes small_shapes(TextKind kind) {
  const bool ours = kind == TextKind::ours;
  const TextBackboneConfig c = sizes_of(recorded()[ours ? "ours_small" : "basebert_small"]["config"]);
  Shapes shapes = backbone_shapes(c, ours, ours ? "text_tower.biolord." : "model.");
  if (ours) {
    add_linear(shapes, "projection_layer.0", c.hidden, c.hidden);
    add_linear(shapes, "projection_layer.2", c.hidden, c.hidden);
  }
  shapes["modality_embed.weight"] = Shape{4, c.hidden};
  return shapes;
}

/// Weights generated from their names; `published` goes before each name in the file only.
Weights generated(const Shapes& shapes, const std::string& published = "") {
  std::vector<Weights::Entry> entries;
  for (const auto& [name, shape] : shapes) {
    entries.push_back({published + name, shape, DType::f32, [n = name, s = shape] { return generated_weight(n, s); }});
  }
  return Weights(std::move(entries), "generated");
}

WordPiece vocabulary(TextKind kind) {
  return WordPiece::read(source_path("weights/vocab/bert-base-uncased.txt"),
                         kind == TextKind::ours ? TokenizerFamily::mpnet : TokenizerFamily::bert);
}

TextEncoderConfig small_config(TextKind kind) {
  TextEncoderConfig config = published_text_config(kind);
  config.heads = 4;
  config.lower_case = false;  // the recorded texts went in as written
  return config;
}

TextEncoder small_encoder(TextKind kind) {
  return TextEncoder(text_weights({generated(small_shapes(kind), "module.")}), vocabulary(kind), small_config(kind));
}

Tensor row(const Json& numbers) {
  std::vector<float> values;
  for (double value : numbers.numbers()) values.push_back(float(value));
  return from_values({int64_t(values.size())}, values);
}

/// "" or what differs between hidden states and their recorded mean, deviation and ends.
std::string summary_mismatch(const Tensor& hidden, const Json& want) {
  const int64_t n = hidden.numel();
  const float* x = hidden.data<float>();
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < n; ++i) sum += double(x[i]);
  for (int64_t i = 0; i < n; ++i) squares += (double(x[i]) - sum / double(n)) * (double(x[i]) - sum / double(n));
  const Tensor flat = hidden.reshape({n});
  const auto off = [](double got, double wanted) { return !(std::fabs(got - wanted) < 2e-6); };
  if (off(sum / double(n), want["mean"].number())) return "mean is " + std::to_string(sum / double(n));
  if (off(std::sqrt(squares / double(n)), want["std"].number())) return "deviation differs";
  const std::string first = mismatch(flat.slice(0, 8), row(want["first8"]), {0, 1e-5});
  return first.empty() ? mismatch(flat.slice(n - 8, n), row(want["last8"]), {0, 1e-5}) : first;
}

TokenRows rows_of(const Json& item) {
  TokenRows rows;
  for (size_t i = 0; i < item["input_ids"].size(); ++i) {
    std::vector<uint8_t> attended;
    for (int64_t flag : item["attention_mask"][i].integers()) attended.push_back(uint8_t(flag));
    rows.append(item["input_ids"][i].integers(), attended);
  }
  return rows;
}

template <class Model>
void check_recorded_cases(const std::string& name, bool mpnet) {
  const Json& part = recorded()[name];
  const TextBackboneConfig config = sizes_of(part["config"]);
  const Weights weights = generated(backbone_shapes(config, mpnet));
  const Model model(weights, config);
  CHECK(weights.never_read().empty());
  for (const auto& [label, item] : part["cases"].members()) {
    CAPTURE(label);
    const Json& after = item["after"];
    const Tensor hidden = model(rows_of(item), [&](int64_t step, const Tensor& x) {
      CAPTURE(step);
      CHECK(summary_mismatch(x, after[step == 0 ? "embeddings" : "layer " + std::to_string(step - 1)]) == "");
    });
    const Tensor want = read_npy(golden_path("text/" + item["last_hidden_state"].string()));
    CHECK(mismatch(hidden.reshape(want.shape), want, {0, 1e-5}) == "");
  }
}

std::string error_of(const Shapes& shapes, TextKind kind, const std::string& published = "module.") {
  try {
    TextEncoder(text_weights({generated(shapes, published)}), vocabulary(kind), small_config(kind));
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

TEST_CASE("relative positions fall into the recorded buckets") {
  const Json& want = recorded()["relative_position_buckets"];
  int64_t offset = want["first_j_minus_i"].integer();
  for (int64_t bucket : want["buckets"].integers()) CHECK(relative_position_bucket(offset++) == bucket);
  CHECK(relative_position_bucket(int64_t(1) << 40) == 31);
  CHECK(relative_position_bucket(-(int64_t(1) << 40)) == 15);
}

TEST_CASE("MPNet gives the recorded hidden states after every layer") { check_recorded_cases<Mpnet>("mpnet", true); }

TEST_CASE("BERT gives the recorded hidden states after every layer") { check_recorded_cases<Bert>("bert", false); }

TEST_CASE("SAT's own encoder gives the recorded ids, masks, sentence vectors and queries") {
  const TextEncoder encoder = small_encoder(TextKind::ours);
  for (const Json& item : recorded()["ours_small"]["texts"].items()) {
    const std::string& text = item["text"].string();
    CAPTURE(text);
    const TextEncoder::Tokens tokens = encoder.tokens(text);
    CHECK(tokens.ids == item["ids"].integers());
    CHECK(std::vector<int64_t>(tokens.attended.begin(), tokens.attended.end()) == item["mask"].integers());
    const char* modalities[] = {"ct", "mri", "us", "pet"};
    CHECK(mismatch(encoder.pooled({text}).select(0), row(item["pooled"]), {0, 1e-5}) == "");
    const Tensor query = encoder.encode({text}, modalities[item["modality"].integer()]);
    CHECK(mismatch(query.select(0), row(item["out"]), {0, 1e-5}) == "");
  }
}

TEST_CASE("the BERT encoders give the recorded ids and queries") {
  const TextEncoder encoder = small_encoder(TextKind::basebert);
  for (const Json& item : recorded()["basebert_small"]["texts"].items()) {
    const std::string& text = item["text"].string();
    CAPTURE(text);
    CHECK(encoder.tokens(text).ids == item["ids"].integers());
    const char* modalities[] = {"ct", "mri", "us", "pet"};
    const Tensor query = encoder.encode({text}, modalities[item["modality"].integer()]);
    CHECK(mismatch(query.select(0), row(item["out"]), {0, 1e-5}) == "");
  }
}

TEST_CASE("prompts become the recorded ids, as written and lower-cased, cut to 256 and to 64") {
  const std::string path = golden_path("text/tokenizer.json");
  const Json cases = Json::parse(read_text(path), path);
  for (TextKind kind : {TextKind::ours, TextKind::medcpt}) {
    const bool ours = kind == TextKind::ours;
    const Weights weights = text_weights({generated(small_shapes(kind))});
    TextEncoderConfig config = small_config(kind);
    const TextEncoder as_written(weights, vocabulary(kind), config);
    config.lower_case = true;
    const TextEncoder lowered(weights, vocabulary(kind), config);
    for (const Json& item : cases.items()) {
      const std::string& text = item["text"].string();
      CAPTURE(text);
      std::vector<int64_t> want;
      if (ours) {
        want = item[item.find("sat") ? "sat" : "mpnet"].integers();
        want.front() = 105;
        want.back() = 106;
      } else {
        want = item[item.find("bert_max64") ? "bert_max64" : "bert"].integers();
      }
      const size_t most = size_t(config.max_tokens);
      if (want.size() > most) {
        want.resize(most);
        want.back() = ours ? 106 : 102;
      }
      CHECK(as_written.tokens(text).ids == want);
      const Json* changed = item.find(ours ? "sat_lowered" : "bert_max64_lowered");
      std::vector<int64_t> want_lowered = changed ? changed->integers() : want;
      if (want_lowered.size() > most) {
        want_lowered.resize(most);
        want_lowered.back() = ours ? 106 : 102;
      }
      CHECK(lowered.tokens(text).ids == want_lowered);
    }
  }
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
    Shapes shapes = small_shapes(kind);
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
  const Shapes good = small_shapes(TextKind::ours);
  const auto without = [&](const std::string& name) {
    Shapes shapes = good;
    REQUIRE(shapes.erase(name) == 1);
    return error_of(shapes, TextKind::ours);
  };
  for (const char* name : {"text_tower.biolord.encoder.layer.1.attention.attn.o.bias", "projection_layer.2.weight",
                           "modality_embed.weight", "text_tower.biolord.embeddings.LayerNorm.bias",
                           "text_tower.biolord.encoder.relative_attention_bias.weight"}) {
    CHECK(contains(without(name), "'" + std::string(name) + "'"));
  }
  const auto with = [&](const std::string& name, const Shape& shape) {
    Shapes shapes = good;
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
  CHECK_THROWS_WITH_AS(recognise_text_kind(generated({{"backbone.weight", Shape{1}}})),
                       doctest::Contains("not a text encoder"), Error);
}

TEST_CASE("a plain sentence encoder takes its place in SAT, alone or with a projection from another file") {
  const TextBackboneConfig c = sizes_of(recorded()["ours_small"]["config"]);
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
  const TextEncoder sentence(alone, vocabulary(TextKind::ours), native_text_config(TextKind::ours));
  CHECK_FALSE(sentence.gives_queries());
  CHECK(sentence.tokens("Liver").ids == std::vector<int64_t>{0, 11294, 2});
  CHECK(sentence.tokens("Liver").attended == std::vector<uint8_t>{1, 1, 1});
  CHECK(sentence.pooled({"liver", "kidney"}).shape == Shape({2, c.hidden}));
  CHECK_THROWS_WITH_AS(sentence.encode({"liver"}, "ct"), doctest::Contains("plain: a plain sentence encoder"), Error);

  const Weights both = text_weights({Weights(plain, "plain"), Weights(projection, "projection")});
  const TextEncoder whole(both, vocabulary(TextKind::ours), small_config(TextKind::ours));
  const Tensor want = small_encoder(TextKind::ours).encode({"left kidney"}, "pet");
  CHECK(same_bits(whole.encode({"left kidney"}, "pet"), want));

  const Weights bert = text_weights({generated(backbone_shapes(sizes_of(recorded()["bert"]["config"]), false))});
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

  const Weights weights = text_weights({generated(small_shapes(TextKind::ours))});
  TextEncoderConfig config = small_config(TextKind::ours);
  config.max_tokens = 513;
  CHECK_THROWS_WITH_AS(TextEncoder(weights, vocabulary(TextKind::ours), config), doctest::Contains("2 to 512"), Error);
  config = small_config(TextKind::ours);
  config.start = "[BEGIN]";
  CHECK_THROWS_WITH_AS(TextEncoder(weights, vocabulary(TextKind::ours), config), doctest::Contains("'[BEGIN]'"), Error);
}

TEST_CASE("a modality's name is read as SAT reads it") {
  const std::map<std::string, int64_t> want{{"CT", 0},     {"ct", 0},  {"spect", 0}, {"MRI ADC", 1},   {"t1w", 1},
                                            {"FLAIR", 1},  {"dwi", 1}, {"MR", 1},    {"pet", 3},       {"FDG-PET", 3},
                                            {"PET/CT", 0}, {"us", 2},  {"US", 2},    {"microscopy", 4}};
  for (const auto& [name, code] : want) {
    CAPTURE(name);
    CHECK(modality_code(name) == code);
  }
  for (const char* name : {"", "ultrasound", "x-ray", "usa"}) CHECK_THROWS_AS(modality_code(name), Error);
  CHECK_THROWS_WITH_AS(small_encoder(TextKind::ours).encode({"liver"}, "microscopy"),
                       doctest::Contains("the table has 4 rows"), Error);
}

}  // namespace sat::test
