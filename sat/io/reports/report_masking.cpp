// The text side of ECAMP's pre-training, step by step as published, faults included: docs/reports.md lists those.
#include "sat/io/reports/report_masking.h"

#include <algorithm>
#include <array>
#include <set>

#include "sat/tensor/error.h"

namespace sat {

namespace {

constexpr double kInserted = 0.8;        // of the reports get the language model's sentences
constexpr double kMaskedWithout = 0.75;  // of the tokens, in a report without entities
constexpr double kMaskedAround = 0.7;    // of the tokens that are no entities, in a report with some
constexpr double kMaskedEntities = 0.75;
constexpr double kLittle = 0.05;  // the weight of words that only deny

/// As published. "aerate" and "hyperinflate" are no entries of ECAMP's vocabulary, "COPD" is no lower case, and plurals
/// are missing: none of these is ever found.
constexpr std::array kEntities = {"abnormality",  "abscess",        "aerate",        "aorta",
                                  "atelectasis",  "bronchiectasis", "calcification", "cardiomediastinal",
                                  "cardiomegaly", "catheter",       "chf",           "collapse",
                                  "congestion",   "consolidation",  "contour",       "COPD",
                                  "deformity",    "dilation",       "distention",    "edema",
                                  "effusion",     "embolism",       "emphysema",     "engorgement",
                                  "fibrosis",     "fracture",       "granuloma",     "hernia",
                                  "hilar",        "hyperinflate",   "hemidiaphragm", "infiltrate",
                                  "mass",         "nodule",         "obscure",       "opacity",
                                  "perihilar",    "pneumonia",      "pneumothorax",  "sarcoidosis",
                                  "silhouette",   "thickening",     "tuberculosis",  "vasculature"};

std::vector<std::string_view> sentences_of(std::string_view report) {
  std::vector<std::string_view> parts;
  size_t start = 0;
  for (size_t end; (end = report.find('.', start)) != std::string_view::npos; start = end + 1) {
    parts.push_back(report.substr(start, end - start));
  }
  parts.push_back(report.substr(start));
  return parts;
}

/// ".." becomes ".", from left to right; what that leaves is not looked at again.
std::string single_periods(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    out += text[i];
    if (text.substr(i, 2) == "..") ++i;
  }
  return out;
}

std::set<int64_t> entity_ids(const ReportTokenizer& tokenizer) {
  std::set<int64_t> ids;
  for (const char* entity : kEntities) {
    if (const std::optional<int64_t> id = tokenizer.find(entity)) ids.insert(*id);
  }
  return ids;
}

/// Adds the positions of up to two tokens before an entity, those already there and periods left out.
void add_descriptors(std::vector<int64_t>& positions, const std::vector<int64_t>& ids, int64_t entity, int64_t period) {
  for (int64_t at = entity - 1; at >= std::max<int64_t>(1, entity - 2); --at) {
    const bool known = std::find(positions.begin(), positions.end(), at) != positions.end();
    if (ids[size_t(at)] != period && !known) positions.push_back(at);
  }
}

/// Whether a position belongs to a phrase that only denies.
std::vector<uint8_t> denying(const std::vector<int64_t>& ids, const ReportTokenizer& tokenizer) {
  std::vector<int64_t> longer;
  for (const char* word : {"there", "is", "no", "evidence", "of"}) longer.push_back(tokenizer.id_of(word));
  const std::vector<int64_t> shorter(longer.begin(), longer.begin() + 3);
  std::vector<uint8_t> found(ids.size(), 0);
  for (size_t i = 0; i + longer.size() <= ids.size();) {
    const auto begins = [&](const std::vector<int64_t>& phrase) {
      return std::equal(phrase.begin(), phrase.end(), ids.begin() + std::ptrdiff_t(i));
    };
    const size_t length = begins(longer) ? longer.size() : begins(shorter) ? shorter.size() : 0;
    std::fill_n(found.begin() + std::ptrdiff_t(i), length, uint8_t(1));
    i += std::max<size_t>(1, length);
  }
  return found;
}

}  // namespace

std::string assemble_report(std::string_view report, std::string_view llm_output, const UniformStream& draw) {
  std::string text;
  if (draw() < kInserted) {
    const std::vector<std::string_view> parts = sentences_of(report);
    const size_t place = std::min(parts.size(), size_t(draw() * double(parts.size() + 1)));
    for (size_t i = 0; i <= parts.size(); ++i) {
      if (i == place) text += llm_output;
      if (i < parts.size()) (text += parts[i]) += '.';
    }
  } else {
    text = report;
  }
  return "[CLS] " + single_periods(text);
}

MaskedReport mask_entities(const std::vector<int64_t>& ids, const ReportTokenizer& tokenizer,
                           const UniformStream& draw) {
  const std::set<int64_t> entities = entity_ids(tokenizer);
  const int64_t period = tokenizer.id_of("."), mask = tokenizer.mask_id();
  const int64_t last = int64_t(ids.size()) - 1;
  const auto is_entity = [&](int64_t i) { return entities.count(ids[size_t(i)]) > 0; };
  bool has_entities = false;
  for (int64_t i = 1; i < last; ++i) has_entities = has_entities || is_entity(i);

  MaskedReport masked{ids, {}};
  std::vector<int64_t> found;
  for (int64_t i = 1; i < last && ids[size_t(i)] != tokenizer.pad_id(); ++i) {
    int64_t& id = masked.ids[size_t(i)];
    if (tokenizer.continues_word(id)) {
      if (masked.ids[size_t(i - 1)] == mask) id = mask;
      continue;
    }
    const bool entity = is_entity(i);
    if (entity) {
      found.push_back(i);
      add_descriptors(masked.descriptors, ids, i, period);
    }
    const double p = draw();
    if (has_entities ? p < kMaskedAround && !entity : p < kMaskedWithout) id = mask;
  }
  for (const int64_t i : found) {
    if (draw() < kMaskedEntities) masked.ids[size_t(i)] = mask;
  }
  return masked;
}

std::vector<float> token_weights(const std::vector<int64_t>& ids, const std::vector<int64_t>& descriptors,
                                 const ReportTokenizer& tokenizer) {
  const std::vector<uint8_t> denies = denying(ids, tokenizer);
  std::vector<double> weights(ids.size(), 1);
  double denied = 0, both = 0;  // D and L of the specification
  for (size_t i = 0; i < ids.size(); ++i) {
    if (denies[i]) weights[i] = kLittle;
    denied += denies[i];
  }
  for (const int64_t at : descriptors) {
    SAT_CHECK(at >= 0 && at < int64_t(ids.size()), "token_weights: position ", at, " of ", ids.size(), " tokens");
    both += denies[size_t(at)];
  }
  const double lost = 1 - kLittle, count = double(descriptors.size());
  if (denied > 0 && count > 0) {
    for (const int64_t at : descriptors)
      weights[size_t(at)] *= (lost * (denied - both) + count) / (count - lost * both);
  } else if (denied > 0) {
    for (double& weight : weights) weight *= double(ids.size()) / (double(ids.size()) - lost * denied);
  }
  return {weights.begin(), weights.end()};
}

}  // namespace sat
