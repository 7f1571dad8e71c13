// Private. How ECAMP makes a report the language task of pre-training: a text, masked ids, and the weight of each
// token. All choices are drawn from a stream that the caller gives, so that a seed decides them (uniform_stream.h).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sat/io/reports/report_tokenizer.h"
#include "sat/io/reports/uniform_stream.h"

namespace sat {

/// The text of a report: "[CLS] ", then, in 8 cases of 10, the report with the language model's sentences about it
/// between two of its own or at an end, no space around them, else the report alone; ".." becomes "." once. Draws once,
/// and again for the place.
std::string assemble_report(std::string_view report, std::string_view llm_output, const UniformStream& draw);

struct MaskedReport {
  std::vector<int64_t> ids;          // with [MASK] where masked
  std::vector<int64_t> descriptors;  // positions of up to two tokens before each entity, periods left out, as found
};

/// Masks 70 of 100 tokens around entities, 75 of 100 entities, and 75 of 100 tokens where there is no entity; never the
/// first and the last position, nothing from the first [PAD] on. A piece that continues a word is masked with the piece
/// before it, without drawing. Draws once for each other token, in order, then once for each entity.
MaskedReport mask_entities(const std::vector<int64_t>& ids, const ReportTokenizer& tokenizer,
                           const UniformStream& draw);

/// The weight of every position in the language loss, which sum up to their number: 1, but 0.05 for the words of "there
/// is no" and "there is no evidence of", and the descriptors, or where there are none all positions, make up for it.
/// `ids` are those before masking. Throws Error for a descriptor beyond them and a vocabulary without these words.
std::vector<float> token_weights(const std::vector<int64_t>& ids, const std::vector<int64_t>& descriptors,
                                 const ReportTokenizer& tokenizer);

}  // namespace sat
