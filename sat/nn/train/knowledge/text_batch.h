// Private. Pairs of names and texts as a text step takes them: drawn, and cut to the encoder's length (spec m.1, m.2).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sat/io/datasets/knowledge/knowledge_pairs.h"
#include "sat/nn/text/text_encoder.h"

namespace sat {

/// The tokens of a text. One that is longer than the encoder takes is, with probability 1/2, a window of it that begins
/// anywhere, and so may lose its start token; else its beginning. The last token is the end then. None of the numbers
/// in [0, 1) for a short text; one or two for a long one.
TextEncoder::Tokens cut_at_random(const TextEncoder& encoder, const std::string& text,
                                  const std::function<double()>& unit);

/// N pairs: names[i] and texts[i] belong together.
struct TextBatch {
  std::vector<std::string> labels;
  std::vector<TextEncoder::Tokens> names, texts;
};

/// Pairs [first, first + count) of those that a seed gives, each a function of its number.
TextBatch draw_texts(const KnowledgePairs& pairs, const TextEncoder& encoder, uint64_t seed, int64_t first,
                     int64_t count);

}  // namespace sat
