// Private. From prompts to queries: SAT's three text encoders, "ours", "medcpt" and "basebert" (spec f), and plain
// sentence encoders of the same two architectures. The words' side of a model; images are sat_model.h's, and prompts
// encoded once and for all are embedding_bank.h's.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sat/io/words/json.h"
#include "sat/io/words/wordpiece.h"
#include "sat/nn/text/post_norm.h"

namespace sat {

/// Which published encoder: "ours" is MPNet with a projection, the others are BERT without one.
enum class TextKind : uint8_t { ours, medcpt, basebert };
const char* name_of(TextKind kind);
TextKind parse_text_kind(const std::string& name);  // throws Error naming the three

/// How the tokens' hidden states become one vector.
enum class Pooling : uint8_t {
  mean,   // of all attended tokens, start and end included
  first,  // the start token's
};

/// Everything about a text encoder that its tensors do not say.
struct TextEncoderConfig {
  TextKind kind = TextKind::ours;
  int64_t heads = 0;            // 0: from the tensors for MPNet, 12 for a BERT of width 768
  std::string start = "[CLS]";  // vocabulary entries put around a prompt
  std::string end = "[SEP]";
  int64_t max_tokens = 256;  // start and end included; a longer prompt loses its last pieces
  Pooling pooling = Pooling::mean;
  bool zero_is_padding = true;         // id 0 inside a prompt is not attended to, as SAT's wrapper has it
  bool spaced_mask_is_unknown = true;  // a <mask> after white space becomes [UNK], as SAT's wrapper has it
  bool lower_case = true;              // by Python's str.lower, before the tokenizer, as SAT's loader does
};

/// As SAT runs this encoder.
TextEncoderConfig published_text_config(TextKind kind);
/// As a sentence encoder of the same architecture was trained to run: its own start and end tokens, mean pooling, up
/// to 512 tokens, the prompt as written. MPNet (<s> ... </s>) for ours, BERT for the others.
TextEncoderConfig native_text_config(TextKind kind);

/// JSON form: {"kind", "heads", "start", "end", "max_tokens", "pooling": "mean" | "first", "zero_is_padding",
/// "spaced_mask_is_unknown", "lower_case"}. What is absent stays as published for the kind; an unknown key or value
/// throws Error.
TextEncoderConfig text_config_from_json(const Json& json, const std::string& source);
Json to_json(const TextEncoderConfig& config);

/// The names that TextEncoder asks for, from one or more checkpoints (an encoder, and perhaps apart from it a
/// projection and a modality table): `module.` is stripped, `atlas_tower.*` and `temperature` are dropped, and a plain
/// MPNet or BERT gets the prefix of its place in SAT, `text_tower.biolord.` or `model.`. A name in two files throws
/// Error.
Weights text_weights(const std::vector<Weights>& checkpoints);

/// "ours" where the tensors hold MPNet, otherwise "basebert" (whose tensors are medcpt's too). Throws Error naming what
/// is missing for anything else. Takes the names of text_weights().
TextKind recognise_text_kind(const Weights& weights);

/// The row of the modality table, 0 ct to 4 microscopy, for any word of parse_modality(); throws Error for others.
int64_t modality_code(const std::string& name);

class TextEncoder {
 public:
  /// `weights` as from text_weights(). Sizes are read off the tensors. A tensor that is missing, mis-shaped or unknown
  /// throws Error naming it; position_ids and the pooler are passed over. Files without projection and modality table
  /// make a plain sentence encoder, which has pooled() only.
  TextEncoder(const Weights& weights, WordPiece vocabulary, TextEncoderConfig config);

  /// Throws Error as the constructor does for tensors that are missing, mis-shaped or unknown; needs no vocabulary.
  static void check(const Weights& weights, const TextEncoderConfig& config);

  /// The most bytes of the CPU's memory that building this encoder and encoding prompts hold at a time, beside the
  /// prompts' own vectors: learnt by a dry run in the current context. Needs no vocabulary.
  static int64_t planned_bytes(const Weights& weights, const TextEncoderConfig& config);

  /// One query a prompt: projection(pooled) + the modality's row, [N, width()]. A prompt's row has the same bits
  /// whatever the others are.
  Tensor encode(const std::vector<std::string>& prompts, const std::string& modality) const;

  /// The same without the modality's row: what an embedding bank keeps. [N, width()]
  Tensor project(const std::vector<std::string>& prompts) const;

  /// One sentence vector a prompt, before projection and modality. [N, hidden]
  Tensor pooled(const std::vector<std::string>& prompts) const;

  /// Ids of one prompt with start and end, and which of them are attended to.
  struct Tokens {
    std::vector<int64_t> ids;
    std::vector<uint8_t> attended;
  };
  Tokens tokens(const std::string& prompt) const { return cut(ids(prompt)); }

  /// Its parts, for training. All ids of a prompt with start and end, however many.
  std::vector<int64_t> ids(const std::string& prompt) const;
  /// The first max_tokens of these, the last one the end where some are left out.
  Tokens cut(std::vector<int64_t> ids) const;
  /// pooled() of tokens, computed side by side: a tape follows it. [N, hidden]
  Tensor sentences(const std::vector<Tokens>& texts) const;

  int64_t hidden() const;  // of a sentence vector
  bool gives_queries() const { return !parts_.modality_embed.empty(); }
  int64_t width() const;                                                  // of a query; throws where there are none
  const Tensor& modality_embed() const { return parts_.modality_embed; }  // [4 or 5, width], or empty
  const TextEncoderConfig& config() const { return config_; }

 private:
  struct Backbone;
  struct Parts {
    std::shared_ptr<const Backbone> backbone;
    Linear project_in, project_out;  // "ours" only
    Tensor modality_embed;           // empty for a plain sentence encoder
  };
  static Parts load(const Weights& weights, const TextEncoderConfig& config);
  static Tensor vectors_of(const Parts& parts, const TokenRows& texts, Pooling pooling);
  static Tensor projected(const Parts& parts, const Tensor& sentences);

  TextEncoderConfig config_;
  WordPiece vocabulary_;
  Parts parts_;
  std::string source_;
};

/// rows [N, C] + table's row of the modality, table [M, C] with M of 4 or 5. Throws Error for a modality beyond it.
Tensor add_modality(const Tensor& rows, const Tensor& table, const std::string& modality, const std::string& source);

}  // namespace sat
