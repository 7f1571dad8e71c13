// Text encoder and tokenizer parity.
#include "tests/support/parity/text_parity.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>
#include <optional>

#include "sat/io/files/hash.h"
#include "sat/io/words/unicode.h"
#include "sat/nn/text/bert.h"
#include "sat/nn/text/mpnet.h"
#include "tests/support/golden.h"
#include "tests/support/parity/sat_parity.h"
#include "tests/support/text_model.h"

namespace sat::test {

namespace {

constexpr double kHidden = 1e-5;  // absolute; the smallest mistake that a model could make is 2e-4 (epsilon)
constexpr int64_t kMpnetStart = 105, kMpnetEnd = 106, kBertEnd = 102;  // as SAT puts them around a prompt's ids
const char* const kModalities[] = {"ct", "mri", "us", "pet"};

/// A folder, and what its generated weights are named after.
struct Folder {
  std::string path, prefix;

  bool has(const std::string& file) const { return std::filesystem::exists(path + "/" + file); }
  Tensor array(const std::string& file) const { return read_npy(path + "/" + file); }
  Json json(const std::string& file) const { return Json::parse(read_text(path + "/" + file), path + "/" + file); }
};

/// The largest error of one quantity, or the number of differences; no line when nothing was compared.
class Quantity {
 public:
  Quantity(std::string name, double limit) : name_(std::move(name)), limit_(limit) {}

  void difference(double error) {
    ++compared_;
    error_ = std::max(error_, std::isnan(error) ? std::numeric_limits<double>::infinity() : error);
  }
  void count(bool same) {
    ++compared_;
    error_ += same ? 0 : 1;
  }
  /// `unit`: what was counted, to be said in the name.
  void append_to(std::vector<ParityLine>& lines, const std::string& unit = "") const {
    const std::string counted = unit.empty() ? "" : " (" + std::to_string(compared_) + " " + unit + ")";
    if (compared_ > 0) lines.push_back({name_ + counted, error_, limit_});
  }

 private:
  std::string name_;
  double limit_ = 0, error_ = 0;
  int64_t compared_ = 0;
};

/// x against as many recorded numbers from its beginning.
double first_difference(const Tensor& x, const Json& recorded) {
  const std::vector<double> numbers = recorded.numbers();
  const std::vector<float> values(numbers.begin(), numbers.end());
  const int64_t count = int64_t(values.size());
  return largest_difference(x.reshape({x.numel()}).slice(0, count), from_values({count}, values));
}

/// Hidden states against their recorded shape, mean, deviation and ends.
double summary_difference(const Tensor& anywhere, const Json& want) {
  const Tensor hidden = anywhere.to(Device::cpu);
  const std::vector<int64_t> sizes = want["shape"].integers();
  int64_t count = 1;
  for (int64_t size : sizes) count *= size;
  if (count != hidden.numel() || sizes.back() != hidden.shape[-1]) return std::numeric_limits<double>::infinity();
  const float* x = hidden.data<float>();
  double mean = 0, squares = 0;
  for (int64_t i = 0; i < count; ++i) mean += double(x[i]) / double(count);
  for (int64_t i = 0; i < count; ++i) squares += (double(x[i]) - mean) * (double(x[i]) - mean);
  const Tensor end = hidden.reshape({count}).slice(count - int64_t(want["last8"].size()), count);
  return std::max({std::fabs(mean - want["mean"].number()),
                   std::fabs(std::sqrt(squares / double(count)) - want["std"].number()),
                   first_difference(hidden, want["first8"]), first_difference(end, want["last8"])});
}

/// Compares what a backbone says of itself with the recorded `after`.
HiddenProbe comparing(Quantity& quantity, const Json& after) {
  return [&](int64_t step, const Tensor& hidden) {
    const Json* want = after.find(step == 0 ? "embeddings" : "layer " + std::to_string(step - 1));
    if (want) quantity.difference(summary_difference(hidden, *want));
  };
}

using Backbone = std::function<Tensor(const TokenRows&, const HiddenProbe&)>;
Backbone backbone(bool mpnet, const Weights& weights, const TextBackboneConfig& config) {
  if (mpnet) return Mpnet(weights, config);
  return Bert(weights, config);
}

void compare_buckets(const Json& want, std::vector<ParityLine>& lines) {
  Quantity wrong("relative position buckets", 0);
  int64_t offset = want["first_j_minus_i"].integer();
  for (int64_t bucket : want["buckets"].integers()) wrong.count(relative_position_bucket(offset++) == bucket);
  wrong.append_to(lines);
}

/// `mpnet` or `bert`: a plain model on batches of ids, a line a batch.
void compare_backbone(const Folder& folder, const std::string& name, const Json& part, std::vector<ParityLine>& lines) {
  const Backbone model = backbone(name == "mpnet", generated_weights(folder.prefix), recorded_sizes(part["config"]));
  for (const auto& [label, item] : part["cases"].members()) {
    TokenRows rows;
    for (size_t i = 0; i < item["input_ids"].size(); ++i) {
      const std::vector<int64_t> mask = item["attention_mask"][i].integers();
      rows.append(item["input_ids"][i].integers(), std::vector<uint8_t>(mask.begin(), mask.end()));
    }
    Quantity layers(name + " " + label + ": embeddings and layers", kHidden);
    Quantity last(name + " " + label + ": last hidden states", kHidden);
    const Tensor hidden = model(rows, comparing(layers, item["after"])).to(Device::cpu);
    const std::string array = item["last_hidden_state"].string();
    if (folder.has(array)) {
      const Tensor want = folder.array(array);
      last.difference(largest_difference(hidden.reshape(want.shape), want));
    }
    layers.append_to(lines);
    last.append_to(lines);
  }
}

/// `ours_...` or `basebert_...`: prompts to queries, one prompt at a time. Passed over without its array of queries.
void compare_encoder(const Folder& folder, const std::string& name, const Json& part, std::vector<ParityLine>& lines) {
  const Json* array = part.find("out");
  if (array && !folder.has(array->string())) return;
  const TextKind kind = name.compare(0, 4, "ours") == 0 ? TextKind::ours : TextKind::basebert;
  const bool ours = kind == TextKind::ours;
  const TextBackboneConfig sizes = recorded_sizes(part["config"]);

  Quantity layers(name + ": embeddings and layers of one text", kHidden);
  if (const Json* after = part.find("after")) {
    const Weights whole = generated_weights(folder.prefix);
    TokenRows rows;
    rows.append(part["texts"][size_t(part["layers_of_text"].integer())]["ids"].integers());
    backbone(ours, ours ? whole / "text_tower" / "biolord" : whole / "model", sizes)(rows, comparing(layers, *after));
  }

  TextEncoderConfig config = published_text_config(kind);
  config.heads = sizes.heads;
  config.lower_case = false;  // the recorded texts went in as written
  const Weights weights = generated_text_weights(text_encoder_shapes(sizes, kind), "module.", folder.prefix);
  const TextEncoder encoder(text_weights({weights}), published_vocabulary(kind), config);
  const Tensor queries = array ? folder.array(array->string()) : Tensor();
  Quantity ids(name + ": ids and masks", 0), pooled(name + ": sentence vectors", kHidden),
      out(name + ": queries", kHidden);
  for (size_t i = 0; i < part["texts"].size(); ++i) {
    const Json& item = part["texts"][i];
    const std::vector<std::string> text{item["text"].string()};
    const TextEncoder::Tokens tokens = encoder.tokens(text[0]);
    const Json* mask = item.find("mask");
    ids.count(tokens.ids == item["ids"].integers() &&
              (!mask || std::vector<int64_t>(tokens.attended.begin(), tokens.attended.end()) == mask->integers()));
    for (const char* key : {"pooled", "pooled_first8"}) {
      if (const Json* want = item.find(key)) pooled.difference(first_difference(encoder.pooled(text), *want));
    }
    const int64_t modality = item["modality"].integer();
    SAT_CHECK(modality >= 0 && modality < 4, name, ": modality ", modality, " is recorded, 0 to 3 are known");
    const Tensor query = encoder.encode(text, kModalities[modality]);
    for (const char* key : {"out", "out_first8"}) {
      if (const Json* want = item.find(key)) out.difference(first_difference(query, *want));
    }
    if (array) out.difference(largest_difference(query.select(0), queries.select(int64_t(i))));
  }
  layers.append_to(lines);
  ids.append_to(lines, "texts");
  pooled.append_to(lines);
  out.append_to(lines);
}

std::vector<int64_t> with_ends(const WordPiece& words, const std::string& start, const std::string& text,
                               const std::string& end) {
  std::vector<int64_t> ids{words.id_of(start)};
  for (const Token& token : words.tokenize(text)) ids.push_back(token.id);
  ids.push_back(words.id_of(end));
  return ids;
}

/// The ids that SAT's wrapper gives, from what is recorded of a string: its own where they are, otherwise the plain
/// tokenizer's with SAT's ends, cut to the encoder's length.
std::vector<int64_t> ids_in_sat(const Json& item, bool ours, bool lowered, int64_t most) {
  std::vector<std::string> keys{ours ? "sat" : "bert_max64", ours ? "mpnet" : "bert"};
  if (lowered) keys.insert(keys.begin(), ours ? "sat_lowered" : "bert_max64_lowered");
  const auto key = std::find_if(keys.begin(), keys.end() - 1, [&](const std::string& k) { return item.find(k); });
  std::vector<int64_t> ids = item[*key].integers();
  if (ours) ids.front() = kMpnetStart;
  if (int64_t(ids.size()) > most) ids.resize(size_t(most));
  ids.back() = ours ? kMpnetEnd : kBertEnd;
  return ids;
}

/// Every recorded string through the plain tokenizers and through SAT's wrappers, as written and lower-cased.
void compare_strings(const Json& cases, std::vector<ParityLine>& lines) {
  for (TextKind kind : {TextKind::ours, TextKind::medcpt}) {
    const bool ours = kind == TextKind::ours;
    const WordPiece words = published_vocabulary(kind);
    // The smallest encoder that takes prompts of full length: only its ids are asked for.
    const TextBackboneConfig sizes{words.size(), 8, 1, 2, 8, 514, 1e-5f};
    TextEncoderConfig config = published_text_config(kind);
    config.heads = sizes.heads;
    const Weights weights = text_weights({generated_text_weights(text_encoder_shapes(sizes, kind))});
    config.lower_case = false;
    const TextEncoder as_written(weights, words, config);
    config.lower_case = true;
    const TextEncoder lowered(weights, words, config);

    const std::string in_sat = ours ? "tokenizer ours" : "tokenizer medcpt";
    Quantity plain(ours ? "tokenizer mpnet" : "tokenizer bert", 0), written(in_sat + " as written", 0),
        lower(in_sat + " lower-cased", 0);
    for (const Json& item : cases.items()) {
      const Json* want = item.find(ours ? "mpnet" : "bert");
      if (!want) continue;
      const std::string& text = item["text"].string();
      plain.count(with_ends(words, ours ? "<s>" : "[CLS]", text, ours ? "</s>" : "[SEP]") == want->integers());
      written.count(as_written.tokens(text).ids == ids_in_sat(item, ours, false, config.max_tokens));
      lower.count(lowered.tokens(text).ids == ids_in_sat(item, ours, true, config.max_tokens));
    }
    for (const Quantity* quantity : {&plain, &written, &lower}) quantity->append_to(lines, "strings");
  }
}

/// A text with places for one code point, as the record writes it: `"a" c "b"` is letter a, the code point, letter b.
class Template {
 public:
  explicit Template(const std::string& text) {
    for (size_t at = 0; (at = text.find_first_not_of(' ', at)) != std::string::npos;) {
      const bool quote = text[at] == '"';
      const size_t end = quote ? text.find('"', at + 1) : std::min(text.find(' ', at), text.size());
      SAT_CHECK(end != std::string::npos, "string is ", quoted(text), ", a quote stays open");
      if (quote) {
        parts_.push_back(decode_utf8(text.substr(at + 1, end - at - 1), "string"));
      } else {
        SAT_CHECK(text.substr(at, end - at) == "c", "string is ", quoted(text), ", it needs quoted texts and c");
        parts_.push_back(std::nullopt);
      }
      at = end + (quote ? 1 : 0);
    }
    SAT_CHECK(std::count(parts_.begin(), parts_.end(), std::nullopt) > 0, "string is ", quoted(text), ", it needs a c");
  }

  std::u32string with(char32_t c) const {
    std::u32string text;
    for (const std::optional<std::u32string>& part : parts_) text += part.value_or(std::u32string(1, c));
    return text;
  }

 private:
  std::vector<std::optional<std::u32string>> parts_;  // none: the code point
};

/// Spaces between the words that a text is split into; a line feed alone for a surrogate.
std::string line_of(const Template& texts, char32_t c) {
  std::string line;
  if (c < 0xD800 || c > 0xDFFF) {
    for (const std::u32string& word : split_words(texts.with(c))) {
      if (!line.empty()) line += ' ';
      line += encode_utf8(word);
    }
  }
  return line + "\n";
}

void compare_blocks(const Json& record, std::vector<ParityLine>& lines) {
  const std::vector<std::string> blocks = record["blocks"].strings();
  SAT_CHECK(blocks.size() <= 0x110000 / 256, blocks.size(), " blocks are recorded, Unicode has 4352");
  const Json* string = record.find("string");
  const Template texts(string ? string->string() : "\"a\" c \"b\"");
  Quantity wrong("unicode", 0);
  for (size_t block = 0; block < blocks.size(); ++block) {
    std::string text;
    for (char32_t c = char32_t(block * 256); c < (block + 1) * 256; ++c) text += line_of(texts, c);
    wrong.count(sha256(text).substr(0, 16) == blocks[block]);
  }
  wrong.append_to(lines, "blocks");
}

}  // namespace

std::vector<ParityLine> compare_text(const std::string& path) {
  Folder folder{path, ""};
  folder.prefix = folder.json("case.json")["prefix"].string();
  std::vector<ParityLine> lines;
  if (folder.has("values.json")) {
    const Json values = folder.json("values.json");
    if (const Json* buckets = values.find("relative_position_buckets")) compare_buckets(*buckets, lines);
    for (const char* name : {"mpnet", "bert"}) {
      if (const Json* part = values.find(name)) compare_backbone(folder, name, *part, lines);
    }
    for (const char* name : {"ours_small", "basebert_small", "ours_full", "basebert_full"}) {
      if (const Json* part = values.find(name)) compare_encoder(folder, name, *part, lines);
    }
  }
  if (folder.has("tokenizer.json")) compare_strings(folder.json("tokenizer.json"), lines);
  if (folder.has("unicode_blocks.json")) {
    compare_blocks(folder.json("unicode_blocks.json"), lines);
  }
  SAT_CHECK(!lines.empty(), path,
            ": nothing to compare; values.json, tokenizer.json and unicode_blocks.json can hold it");
  return lines;
}

}  // namespace sat::test
