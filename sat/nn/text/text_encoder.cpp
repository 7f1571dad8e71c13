// SAT's wrappers around BERT and MPNet: which tokens go in, how hidden states become queries.
#include "sat/nn/text/text_encoder.h"

#include <algorithm>
#include <map>

#include "sat/io/words/modality.h"
#include "sat/io/words/text.h"
#include "sat/io/words/unicode.h"
#include "sat/nn/text/bert.h"
#include "sat/nn/text/mpnet.h"
#include "sat/tensor/context.h"
#include "sat/tensor/memory/memory.h"

namespace sat {

namespace {

constexpr int64_t kRowsAtOnce = 512;                 // tokens that dense layers see together
constexpr size_t kMaxPromptBytes = size_t(1) << 20;  // far beyond any prompt; the rest would be cut off anyway
constexpr int64_t kMostLayers = 1000;

std::string joined(const std::vector<std::string>& names) {
  constexpr size_t kMostNamed = 5;
  std::string list;
  for (size_t i = 0; i < std::min(names.size(), kMostNamed); ++i) list += (i ? ", " : "") + quoted(names[i]);
  if (names.size() > kMostNamed) list += " and " + std::to_string(names.size() - kMostNamed) + " more";
  return list;
}

/// Reads the sizes off the tensors; the constructors of the backbones then check every shape against them.
TextBackboneConfig backbone_config(const Weights& w, const TextEncoderConfig& config) {
  const bool mpnet = config.kind == TextKind::ours;
  TextBackboneConfig sizes = mpnet ? mpnet_base() : bert_base();
  const Shape words = (w / "embeddings" / "word_embeddings").shape_of("weight");
  const Shape positions = (w / "embeddings" / "position_embeddings").shape_of("weight");
  const Shape up = (w / "encoder" / "layer" / 0 / "intermediate" / "dense").shape_of("weight");
  SAT_CHECK(words.rank() == 2 && positions.rank() == 2 && up.rank() == 2, w.source(), ": ", w.prefix(),
            ".embeddings have shapes ", words, " and ", positions, ", a text encoder's are [ids, hidden]");
  sizes.vocabulary = words[0];
  sizes.hidden = words[1];
  sizes.positions = positions[0];
  sizes.feedforward = up[0];
  sizes.layers = 0;
  while (sizes.layers < kMostLayers && (w / "encoder" / "layer" / sizes.layers).has_any()) ++sizes.layers;
  sizes.heads = config.heads;
  if (mpnet) {
    const Shape bias = (w / "encoder" / "relative_attention_bias").shape_of("weight");
    SAT_CHECK(bias.rank() == 2 && (config.heads == 0 || config.heads == bias[1]), w.source(),
              ": relative_attention_bias has shape ", bias, ", which does not fit ", config.heads, " heads");
    sizes.heads = bias[1];
  } else if (config.heads == 0) {
    SAT_CHECK(sizes.hidden == 768, w.source(), ": a BERT of width ", sizes.hidden,
              " does not say how many heads it has; only for width 768 is it known (12). State \"heads\"");
    sizes.heads = 12;
  }
  SAT_CHECK(sizes.heads > 0 && sizes.hidden > 0 && sizes.hidden % sizes.heads == 0, w.source(), ": width ",
            sizes.hidden, " does not divide into ", sizes.heads, " heads");
  return sizes;
}

/// Plain encoders publish their names without a place in SAT.
std::string place_of(const Weights& checkpoint) {
  const bool plain = (checkpoint / "embeddings" / "word_embeddings").has("weight");
  if (!plain) return "";
  return (checkpoint / "encoder" / "relative_attention_bias").has("weight") ? "text_tower.biolord." : "model.";
}

Weights without_module(const Weights& checkpoint) {
  std::vector<Weights::Entry> entries = checkpoint.entries();
  for (Weights::Entry& entry : entries) {
    if (entry.name.compare(0, 7, "module.") == 0) entry.name.erase(0, 7);
  }
  return Weights(std::move(entries), checkpoint.source());
}

/// The same names and shapes, with tensors that a dry run may count.
Weights shapes_of(const Weights& weights) {
  std::vector<Weights::Entry> shapes = weights.entries();
  for (Weights::Entry& entry : shapes) {
    entry.load = [shape = entry.shape] { return Tensor(shape); };
  }
  return Weights(std::move(shapes), weights.source());
}

bool is_pretraining_only(const std::string& name) {
  return name.find("atlas_tower") != std::string::npos || name.find("temperature") != std::string::npos;
}

}  // namespace

/// One of the two architectures behind one call.
struct TextEncoder::Backbone {
  std::unique_ptr<Mpnet> mpnet;
  std::unique_ptr<Bert> bert;
  TextBackboneConfig sizes;

  Tensor operator()(const TokenRows& texts) const { return mpnet ? (*mpnet)(texts) : (*bert)(texts); }
  /// Positions that a text can take: MPNet's first two rows belong to padding.
  int64_t longest() const { return sizes.positions - (mpnet ? 2 : 0); }
};

Weights text_weights(const std::vector<Weights>& checkpoints) {
  std::vector<Weights::Entry> entries;
  std::string source;
  for (const Weights& checkpoint : checkpoints) {
    const Weights named = without_module(checkpoint);
    const std::string place = place_of(named);
    for (Weights::Entry entry : named.entries()) {
      if (is_pretraining_only(entry.name)) continue;
      entry.name = place + entry.name;
      entries.push_back(std::move(entry));
    }
    source += (source.empty() ? "" : " with ") + checkpoint.source();
  }
  return Weights(std::move(entries), source);
}

TextKind recognise_text_kind(const Weights& weights) {
  if ((weights / "text_tower" / "biolord").has_any()) return TextKind::ours;
  if ((weights / "model" / "embeddings").has_any()) return TextKind::basebert;
  fail(weights.source(), ": not a text encoder: there is neither 'text_tower.biolord.embeddings.*' (SAT's own) nor ",
       "'model.embeddings.*' (medcpt, basebert)");
}

int64_t modality_code(const std::string& name) { return int64_t(parse_modality(name)); }

Tensor add_modality(const Tensor& rows, const Tensor& table, const std::string& modality, const std::string& source) {
  const int64_t code = modality_code(modality);
  SAT_CHECK(code < table.shape[0], source, ": modality ", quoted(modality), " has number ", code, ", the table has ",
            table.shape[0], " rows");
  return add(rows, select(table, code));
}

TextEncoder::Parts TextEncoder::load(const Weights& weights, const TextEncoderConfig& config) {
  const std::string& source = weights.source();
  const bool ours = config.kind == TextKind::ours;
  const Weights w = ours ? weights / "text_tower" / "biolord" : weights / "model";
  SAT_CHECK(w.has_any(), source, ": no tensor '", w.prefix(), ".*', which the text encoder ", name_of(config.kind),
            " has");
  Parts parts;
  auto backbone = std::make_shared<Backbone>();
  backbone->sizes = backbone_config(w, config);
  if (ours) {
    backbone->mpnet = std::make_unique<Mpnet>(w, backbone->sizes);
  } else {
    backbone->bert = std::make_unique<Bert>(w, backbone->sizes);
  }
  parts.backbone = backbone;

  const Weights projection = weights / "projection_layer", modality = weights / "modality_embed";
  if (modality.has_any() || projection.has_any()) {
    int64_t width = backbone->sizes.hidden;
    if (ours) {
      const Shape in = (projection / 0).shape_of("weight"), out = (projection / 2).shape_of("weight");
      SAT_CHECK(in.rank() == 2 && out.rank() == 2, source, ": projection_layer has weights of shapes ", in, " and ",
                out, ", both need two axes");
      parts.project_in = Linear(projection / 0, width, in[0]);
      parts.project_out = Linear(projection / 2, in[0], out[0]);
      width = out[0];
    }
    const Shape table = modality.shape_of("weight");
    SAT_CHECK(table == Shape({4, width}) || table == Shape({5, width}), source, ": modality_embed.weight has shape ",
              table, ", the encoder needs [4, ", width, "] or [5, ", width, "]");
    parts.modality_embed = modality.get("weight", table);
  }
  const std::vector<std::string> unknown = weights.never_read();
  SAT_CHECK(unknown.empty(), source, ": the text encoder ", name_of(config.kind), " has no tensor ", joined(unknown));
  return parts;
}

void TextEncoder::check(const Weights& weights, const TextEncoderConfig& config) {
  ContextOptions options;
  options.dry = true;
  Context dry(options);
  UseContext use(dry);
  load(shapes_of(weights), config);
}

TextEncoder::TextEncoder(const Weights& weights, WordPiece vocabulary, TextEncoderConfig config)
    : config_(std::move(config)),
      vocabulary_(std::move(vocabulary)),
      parts_(load(weights, config_)),
      source_(weights.source()) {
  const Backbone& backbone = *parts_.backbone;
  SAT_CHECK(vocabulary_.size() == backbone.sizes.vocabulary, source_, ": the encoder has ", backbone.sizes.vocabulary,
            " word embeddings, the vocabulary ", vocabulary_.source(), " has ", vocabulary_.size(), " entries");
  SAT_CHECK(config_.max_tokens >= 2 && config_.max_tokens <= backbone.longest(), source_, ": ", config_.max_tokens,
            " tokens a prompt were asked for; the encoder takes 2 to ", backbone.longest());
  vocabulary_.id_of(config_.start);
  vocabulary_.id_of(config_.end);
}

int64_t TextEncoder::width() const {
  SAT_CHECK(gives_queries(), source_,
            ": a plain sentence encoder; without 'modality_embed.weight' (and 'projection_layer.*' for ours) it gives ",
            "no queries");
  return parts_.modality_embed.shape[1];
}

int64_t TextEncoder::hidden() const { return parts_.backbone->sizes.hidden; }

std::vector<int64_t> TextEncoder::ids(const std::string& prompt) const {
  SAT_CHECK(prompt.size() <= kMaxPromptBytes, "a prompt of ", prompt.size(), " bytes; at most ", kMaxPromptBytes,
            " are taken");
  std::vector<int64_t> ids{vocabulary_.id_of(config_.start)};
  for (const Token& token : vocabulary_.tokenize(config_.lower_case ? python_lower(prompt) : prompt)) {
    // SAT looks tokens up by their text, and a <mask> that took a space is in no vocabulary.
    const bool not_found = token.took_space && config_.spaced_mask_is_unknown;
    ids.push_back(not_found ? vocabulary_.unknown_id() : token.id);
  }
  ids.push_back(vocabulary_.id_of(config_.end));
  return ids;
}

TextEncoder::Tokens TextEncoder::cut(std::vector<int64_t> ids) const {
  const size_t most = size_t(config_.max_tokens);
  if (ids.size() > most) {
    ids.resize(most);
    ids.back() = vocabulary_.id_of(config_.end);
  }
  Tokens text;
  for (int64_t id : ids) text.attended.push_back(id > 0 || !config_.zero_is_padding);
  text.ids = std::move(ids);
  return text;
}

Tensor TextEncoder::sentences(const std::vector<Tokens>& texts) const {
  TokenRows rows;
  for (const Tokens& text : texts) rows.append(text.ids, text.attended);
  return vectors_of(parts_, rows, config_.pooling);
}

/// Token states [R, C] to one vector a text, [texts, C].
Tensor TextEncoder::vectors_of(const Parts& parts, const TokenRows& texts, Pooling pooling) {
  const Tensor hidden = (*parts.backbone)(texts);
  if (pooling == Pooling::mean) return mean_of_rows(hidden, texts.starts(), texts.attended());
  return gather_rows(hidden, std::vector<int64_t>(texts.starts().begin(), texts.starts().end() - 1));
}

Tensor TextEncoder::projected(const Parts& parts, const Tensor& sentences) {
  return to_host(parts.project_out(parts.project_in(to_compute_device(sentences), Activation::gelu)));
}

int64_t TextEncoder::planned_bytes(const Weights& weights, const TextEncoderConfig& config) {
  Context dry(Context::current().dry_run());
  UseContext use(dry);
  const Parts parts = load(shapes_of(weights), config);
  // Texts of the most tokens, as many as are encoded together: others hold less.
  const int64_t length = std::min(config.max_tokens, parts.backbone->longest());
  TokenRows texts;
  do {
    texts.append(std::vector<int64_t>(size_t(length), 0));
  } while (texts.rows() + length <= kRowsAtOnce);
  const Tensor sentences = to_host(vectors_of(parts, texts, config.pooling));
  if (config.kind == TextKind::ours && !parts.modality_embed.empty()) projected(parts, sentences);
  return dry.memory()->peak_bytes();
}

Tensor TextEncoder::pooled(const std::vector<std::string>& prompts) const {
  // Prompts of equal ids are computed once, the others side by side until enough rows are gathered.
  std::map<std::vector<int64_t>, int64_t> place;
  std::vector<Tokens> distinct;
  std::vector<int64_t> from;
  for (const std::string& prompt : prompts) {
    Tokens text = tokens(prompt);
    const auto [known, is_new] = place.emplace(text.ids, int64_t(distinct.size()));
    if (is_new) distinct.push_back(std::move(text));
    from.push_back(known->second);
  }

  const int64_t C = parts_.backbone->sizes.hidden, count = int64_t(distinct.size());
  Tensor vectors({count, C});
  for (int64_t next = 0; next < count;) {
    const int64_t first = next;
    TokenRows rows;
    do {
      rows.append(distinct[size_t(next)].ids, distinct[size_t(next)].attended);
      ++next;
    } while (next < count && rows.rows() + int64_t(distinct[size_t(next)].ids.size()) <= kRowsAtOnce);
    copy_into(vectors, first, to_host(vectors_of(parts_, rows, config_.pooling)));
  }
  return gather_rows(vectors, from);
}

Tensor TextEncoder::project(const std::vector<std::string>& prompts) const {
  SAT_CHECK(width() > 0, source_, ": queries have no width");
  const Tensor sentence = pooled(prompts);
  if (config_.kind != TextKind::ours) return sentence;
  return projected(parts_, sentence);
}

Tensor TextEncoder::encode(const std::vector<std::string>& prompts, const std::string& modality) const {
  modality_code(modality);  // refused before the long part
  return add_modality(project(prompts), parts_.modality_embed, modality, source_);
}

}  // namespace sat
