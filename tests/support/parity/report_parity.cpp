// Parity of reports: their texts, ids, masks and weights.
#include "tests/support/parity/report_parity.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>

#include "sat/io/reports/report_masking.h"
#include "sat/io/words/json.h"
#include "tests/support/golden.h"

namespace sat::test {

namespace {

constexpr double kWeight = 1e-6;

/// The tokenizer's file: in the folder, or among the data beside it or beside this repository.
std::string find_tokenizer(const std::string& folder, const std::string& name) {
  namespace fs = std::filesystem;
  std::vector<fs::path> places{folder};
  for (const std::string& start : {folder, source_path("")}) {
    fs::path at = fs::absolute(start).lexically_normal();
    for (; at != at.parent_path(); at = at.parent_path()) {
      places.push_back(at / "data" / "vocab");
      places.push_back(at / "shared" / "data" / "vocab");
    }
  }
  for (const fs::path& place : places) {
    if (fs::exists(place / name)) return (place / name).string();
  }
  fail(folder, ": no ", name, " in it, nor in a data/vocab/ beside a folder that it or this repository lies in");
}

/// The lines of one part of values.json.
class Differences {
 public:
  void count(const std::string& quantity, bool same) { at(quantity, 0).error += same ? 0 : 1; }
  void measure(const std::string& quantity, double difference) {
    double& error = at(quantity, kWeight).error;
    error = std::isnan(difference) ? difference : std::max(error, difference);
  }
  void append_to(std::vector<ParityLine>& lines, const std::string& name) const {
    for (const ParityLine& line : lines_) lines.push_back({name + line.quantity, line.error, line.limit});
  }

 private:
  ParityLine& at(const std::string& quantity, double limit) {
    const auto found =
        std::find_if(lines_.begin(), lines_.end(), [&](const ParityLine& l) { return l.quantity == quantity; });
    if (found != lines_.end()) return *found;
    lines_.push_back({quantity, 0, limit});
    return lines_.back();
  }
  std::vector<ParityLine> lines_;
};

/// One record of "masking" (no `llm_output`: nothing is inserted) or of "samples", its draws taken from `name`.
void compare_report(const ReportTokenizer& tokenizer, const Json& want, const std::string& report,
                    const std::string& name, int64_t tokens, Differences& differences) {
  int64_t draws = 0;
  const UniformStream draw = [&draws, stream = unit_stream(name)] {
    ++draws;
    return stream();
  };
  const Json* llm_output = want.find("llm_output");
  const std::string text = llm_output ? assemble_report(report, llm_output->string(), draw)
                                      : assemble_report(report, "", [] { return 1.0; });
  const ReportIds ids = tokenizer.encode(text, {tokens, tokens});
  const MaskedReport masked = mask_entities(ids.ids, tokenizer, draw);
  const std::vector<float> weights = token_weights(ids.ids, masked.descriptors, tokenizer);

  const int64_t pad = tokenizer.pad_id();
  const auto padded = [&](std::vector<int64_t> values) {
    values.resize(size_t(tokens), pad);
    return values;
  };
  differences.count("texts", text == want["text"].string());
  differences.count("lengths", ids.used == want["length"].integer());
  differences.count("ids", ids.ids == padded(want["ids"].integers()));
  differences.count("masked ids", masked.ids == padded(want["masked"].integers()));
  differences.count("positions of descriptors", masked.descriptors == want["mask_pos"].integers());
  differences.count("draws", draws == want["draws"].integer());
  std::vector<double> want_weights = want["weights"].numbers();
  const Json& padding = want["weight_padding"];  // null where there is none
  if (!padding.is_null()) want_weights.resize(size_t(tokens), padding.number());
  differences.count("numbers of weights", weights.size() == want_weights.size());
  for (size_t i = 0; i < std::min(weights.size(), want_weights.size()); ++i) {
    differences.measure("weights", std::fabs(double(weights[i]) - want_weights[i]));
  }
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  differences.measure("sum of weights, relative", std::fabs(sum / want["weight_sum"].number() - 1));
}

}  // namespace

std::vector<ParityLine> compare_report_masking(const std::string& folder, const std::string& tokenizer_path) {
  const Json what = Json::parse(read_text(folder + "/case.json"), folder + "/case.json");
  const Json values = Json::parse(read_text(folder + "/values.json"), folder + "/values.json");
  const std::string prefix = what["prefix"].string();
  const int64_t tokens = what["tokens"].integer();
  SAT_CHECK(tokens >= 2 && tokens <= 1 << 16, folder, ": ", tokens, " tokens a report");
  const ReportTokenizer tokenizer = ReportTokenizer::read(
      tokenizer_path.empty() ? find_tokenizer(folder, what["vocabulary"].string()) : tokenizer_path);

  std::vector<ParityLine> lines;
  if (const Json* texts = values.find("tokenizer")) {
    Differences differences;
    for (const Json& text : texts->items()) {
      differences.count("ids", tokenizer.encode(text["text"].string()).ids == text["ids"].integers());
    }
    differences.append_to(lines, "tokenizer, " + std::to_string(texts->size()) + " texts: ");
  }
  const Json* masking = values.find("masking");
  for (const char* part : {"masking", "samples"}) {
    const Json* records = values.find(part);
    if (!records) continue;
    Differences differences;
    for (const Json& record : records->items()) {
      const int64_t index = record["index"].integer();
      const Json* report = record.find("report");
      if (!report) {
        SAT_CHECK(masking && index >= 0 && index < int64_t(masking->size()), folder, ": no report ", index);
        report = &(*masking)[size_t(index)]["report"];
      }
      const std::string stream = part == std::string("masking") ? "mask_" : "sample_";
      compare_report(tokenizer, record, report->string(), prefix + stream + std::to_string(index), tokens, differences);
    }
    differences.append_to(lines, std::string(part) + ", " + std::to_string(records->size()) + " reports: ");
  }
  SAT_CHECK(!lines.empty(), folder, ": nothing to compare; masking, samples and tokenizer of values.json can hold it");
  return lines;
}

}  // namespace sat::test
