// The bank's file, and the search for a phrase.
#include "sat/nn/text/embedding_bank.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <unordered_map>

#include "sat/io/checkpoints/safetensors.h"
#include "sat/io/words/text.h"
#include "sat/io/words/unicode.h"

namespace sat {

namespace {

constexpr const char* kFormat = "sat-embedding-bank";
constexpr const char* kVersion = "1";

using Metadata = std::map<std::string, std::string>;

/// What two spellings of one phrase share: lower case, no spaces around.
std::string key_of(const std::string& phrase) {
  const std::string lower = python_lower(phrase);
  const size_t first = lower.find_first_not_of(" \t\r\n"), last = lower.find_last_not_of(" \t\r\n");
  return first == std::string::npos ? "" : lower.substr(first, last - first + 1);
}

std::string entry(const Metadata& metadata, const std::string& key, const std::string& source) {
  const auto found = metadata.find(key);
  SAT_CHECK(found != metadata.end(), source, ": an embedding bank without \"", key, "\" in its metadata");
  return found->second;
}

std::string identity(const Metadata& metadata, const std::string& key, const std::string& source) {
  const auto found = metadata.find(key);
  if (found == metadata.end()) return "";
  const std::string& text = found->second;
  SAT_CHECK(text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos, source, ": ", key,
            " is ", quoted(text), ", it should be 64 hex digits");
  return text;
}

/// Row of every phrase by its key. Throws Error where two phrases differ only in case or spaces.
std::unordered_map<std::string, int64_t> index_of(const EmbeddingBank& bank) {
  std::unordered_map<std::string, int64_t> rows;
  for (size_t i = 0; i < bank.phrases.size(); ++i) {
    const auto [place, is_new] = rows.emplace(key_of(bank.phrases[i]), int64_t(i));
    SAT_CHECK(is_new, bank.source, ": phrase ", quoted(bank.phrases[i]), " stands there twice, as number ",
              place->second, " and ", i);
  }
  return rows;
}

void check_finite(const Tensor& x, const char* name, const std::string& source) {
  const int64_t wrong = count_not_finite(x);
  if (wrong == 0) return;
  const float* values = x.data<float>();
  const auto first = std::find_if(values, values + x.numel(), [](float value) { return !std::isfinite(value); });
  fail(source, ": ", name, " holds ", *first, " at element ", first - values, ", and ", wrong, " of ", x.numel(),
       " values in all that are not finite");
}

void check_bank(const EmbeddingBank& bank) {
  const int64_t count = int64_t(bank.phrases.size());
  const Shape &rows = bank.embeddings.shape, &table = bank.modality_embed.shape;
  SAT_CHECK(count > 0 && rows.rank() == 2 && rows[0] == count && rows[1] > 0, bank.source, ": ", count,
            " phrases and embeddings of shape ", rows, ", it needs one row a phrase");
  SAT_CHECK(table.rank() == 2 && (table[0] == 4 || table[0] == 5) && table[1] == rows[1], bank.source,
            ": modality_embed has shape ", table, ", it needs [4, ", rows[1], "] or [5, ", rows[1], "]");
  check_finite(bank.embeddings, "embeddings", bank.source);
  check_finite(bank.modality_embed, "modality_embed", bank.source);
  index_of(bank);
}

/// Insertions, deletions and exchanges that turn a into b (Levenshtein).
int64_t edits_between(const std::u32string& a, const std::u32string& b) {
  std::vector<int64_t> above(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) above[j] = int64_t(j);
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = int64_t(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
    }
    std::swap(above, row);
  }
  return above[b.size()];
}

[[noreturn]] void fail_unknown(const EmbeddingBank& bank, const std::string& prompt) {
  constexpr size_t kNamed = 3, kCompared = 64;  // phrases in the message; characters of a prompt
  const auto start_of = [](const std::string& text) {
    return decode_utf8(key_of(text), "a phrase").substr(0, kCompared);
  };
  std::vector<std::pair<int64_t, size_t>> nearest;
  const std::u32string wanted = start_of(prompt);
  for (size_t i = 0; i < bank.phrases.size(); ++i) {
    nearest.emplace_back(edits_between(wanted, start_of(bank.phrases[i])), i);
  }
  const size_t named = std::min(kNamed, nearest.size());
  std::partial_sort(nearest.begin(), nearest.begin() + int64_t(named), nearest.end());
  std::string list;
  for (size_t i = 0; i < named; ++i) list += (i ? ", " : "") + quoted(bank.phrases[nearest[i].second]);
  const std::string unseen = invisible_character(prompt);
  fail(bank.source, ": prompt ", quoted(prompt),
       unseen.empty() ? "" : " holds an invisible character, " + unseen + ", and", " is not among the ",
       bank.phrases.size(), " phrases; did you mean ", list,
       "? For other words give the text model instead of the bank");
}

Metadata metadata_of(const EmbeddingBank& bank) {
  Json phrases = Json::array();
  for (const std::string& phrase : bank.phrases) phrases.push(phrase);
  Metadata metadata{
      {"format", kFormat}, {"version", kVersion}, {"phrases", phrases.dump()}, {"text", to_json(bank.text).dump()}};
  if (!bank.text_identity.empty()) metadata["text_sha256"] = bank.text_identity;
  if (!bank.model_identity.empty()) metadata["model_sha256"] = bank.model_identity;
  if (!bank.card.entries.empty()) metadata["card"] = to_json(bank.card).dump();
  return metadata;
}

}  // namespace

bool is_bank(const Checkpoint& file) {
  const auto format = file.metadata.find("format");
  return format != file.metadata.end() && format->second == kFormat;
}

bool is_bank(const std::string& path) { return is_bank(open_checkpoint(path)); }

EmbeddingBank read_bank(const std::string& path) {
  const Checkpoint file = read_safetensors(path);
  const std::string format = entry(file.metadata, "format", path), version = entry(file.metadata, "version", path);
  SAT_CHECK(format == kFormat, path, ": format is ", quoted(format), ", an embedding bank's is ", quoted(kFormat));
  SAT_CHECK(version == kVersion, path, ": an embedding bank of version ", quoted(version), "; version ", kVersion,
            " can be read");
  EmbeddingBank bank;
  bank.source = path;
  bank.phrases = Json::parse(entry(file.metadata, "phrases", path), path + ", phrases").strings();
  bank.text = text_config_from_json(Json::parse(entry(file.metadata, "text", path), path + ", text"), path);
  bank.text_identity = identity(file.metadata, "text_sha256", path);
  bank.model_identity = identity(file.metadata, "model_sha256", path);
  if (file.metadata.count("card")) {
    bank.card = model_card_from_json(Json::parse(file.metadata.at("card"), path + ", card"), path);
  }
  bank.embeddings = file.weights.get("embeddings", file.weights.shape_of("embeddings"));
  bank.modality_embed = file.weights.get("modality_embed", file.weights.shape_of("modality_embed"));
  const std::vector<std::string> unknown = file.weights.never_read();
  SAT_CHECK(unknown.empty(), path, ": an embedding bank has no tensor ", quoted(unknown.front()));
  SAT_CHECK(bank.embeddings.dtype == DType::f32 && bank.modality_embed.dtype == DType::f32, path, ": embeddings are ",
            bank.embeddings.dtype, " and modality_embed ", bank.modality_embed.dtype, ", both must be floats");
  check_bank(bank);
  return bank;
}

void write_bank(const std::string& path, const EmbeddingBank& bank) {
  check_bank(bank);
  const Metadata metadata = metadata_of(bank);
  identity(metadata, "text_sha256", bank.source);
  identity(metadata, "model_sha256", bank.source);
  model_card_from_json(to_json(bank.card), bank.source);
  write_safetensors(path, {{"embeddings", bank.embeddings}, {"modality_embed", bank.modality_embed}}, metadata);
}

EmbeddingBank make_bank(const TextEncoder& encoder, const std::vector<std::string>& phrases,
                        const std::string& text_identity, const std::string& model_identity) {
  EmbeddingBank bank;
  bank.phrases = phrases;
  bank.text = encoder.config();
  bank.text_identity = text_identity;
  bank.model_identity = model_identity;
  bank.embeddings = encoder.project(phrases);
  bank.modality_embed = encoder.modality_embed();
  check_bank(bank);
  return bank;
}

Tensor bank_queries(const EmbeddingBank& bank, const std::vector<std::string>& prompts, const std::string& modality) {
  const std::unordered_map<std::string, int64_t> index = index_of(bank);
  std::vector<int64_t> rows;
  for (const std::string& prompt : prompts) {
    const auto found = index.find(key_of(prompt));
    if (found == index.end()) fail_unknown(bank, prompt);
    rows.push_back(found->second);
  }
  const Tensor embeddings = gather_rows(bank.embeddings, rows);
  return add_modality(embeddings, bank.modality_embed, modality, bank.source);
}

}  // namespace sat
