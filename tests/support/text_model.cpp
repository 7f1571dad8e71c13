// Names, shapes and generated values of whole text encoders.
#include "tests/support/text_model.h"

#include "tests/support/golden.h"

namespace sat::test {

void add_linear(NamedShapes& shapes, const std::string& name, int64_t in, int64_t out) {
  shapes[name + ".weight"] = Shape{out, in};
  shapes[name + ".bias"] = Shape{out};
}

void add_norm(NamedShapes& shapes, const std::string& name, int64_t channels) {
  shapes[name + ".weight"] = shapes[name + ".bias"] = Shape{channels};
}

TextBackboneConfig recorded_sizes(const Json& json) {
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

NamedShapes backbone_shapes(const TextBackboneConfig& c, bool mpnet, const std::string& at) {
  NamedShapes shapes;
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

NamedShapes text_encoder_shapes(const TextBackboneConfig& c, TextKind kind) {
  const bool ours = kind == TextKind::ours;
  NamedShapes shapes = backbone_shapes(c, ours, ours ? "text_tower.biolord." : "model.");
  if (ours) {
    add_linear(shapes, "projection_layer.0", c.hidden, c.hidden);
    add_linear(shapes, "projection_layer.2", c.hidden, c.hidden);
  }
  shapes["modality_embed.weight"] = Shape{4, c.hidden};
  return shapes;
}

Weights generated_text_weights(const NamedShapes& shapes, const std::string& published, const std::string& prefix) {
  std::vector<Weights::Entry> entries;
  for (const auto& [name, shape] : shapes) {
    entries.push_back({published + name, shape, DType::f32,
                       [n = name, s = shape, prefix] { return generated_weight(n, s, prefix); }});
  }
  return Weights(std::move(entries), "generated");
}

WordPiece published_vocabulary(TextKind kind) {
  return WordPiece::read(source_path("weights/vocab/bert-base-uncased.txt"),
                         kind == TextKind::ours ? TokenizerFamily::mpnet : TokenizerFamily::bert);
}

}  // namespace sat::test
