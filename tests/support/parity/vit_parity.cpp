// The encoder at every recorded stage: sampled rows, statistics, class token and patches.
#include "tests/support/parity/vit_parity.h"

#include <cmath>

#include "sat/nn/image/vit.h"
#include "tests/support/golden.h"
#include "tests/support/parity/recorded.h"

namespace sat::test {

namespace {

constexpr double kLimit = 2e-5;  // absolute; the official code in f32 is off by 5e-6
constexpr int64_t kEnds = 8;     // rows that are recorded at each end

/// Rows 0 .. 7, the last 8, and the mean of all: [17, C].
Tensor sampled(const Tensor& rows) {
  const int64_t count = rows.shape[0], channels = rows.shape[1];
  Tensor some = zeros({2 * kEnds + 1, channels});
  for (int64_t i = 0; i < kEnds; ++i) {
    copy_into(some, i, rows.slice(i, i + 1));
    copy_into(some, kEnds + i, rows.slice(count - kEnds + i, count - kEnds + i + 1));
  }
  for (int64_t c = 0; c < channels; ++c) {
    double mean = 0;
    for (int64_t r = 0; r < count; ++r) mean += double(rows.data<float>()[r * channels + c]) / double(count);
    some.data<float>()[2 * kEnds * channels + c] = float(mean);
  }
  return some;
}

std::vector<double> first_eight(const Tensor& row) {
  std::vector<double> values;
  for (int64_t i = 0; i < 8; ++i) values.push_back(double(row.data<float>()[i]));
  return values;
}

}  // namespace

std::vector<ParityLine> compare_vit(const std::string& folder) {
  const Json recorded = read_json(folder + "/case.json"), values = read_json(folder + "/values.json");
  const std::string prefix = recorded["prefix"].string();
  VitConfig config;
  config.table = {recorded["table"][0].integer(), recorded["table"][1].integer()};
  config.tokens = 1 + config.table[0] * config.table[1];
  const Vit vit(generated_vit(prefix), config, VitNaming::hugging_face);
  std::vector<ParityLine> lines;
  for (const Json& each : recorded["cases"].items()) {
    const std::string name = each["name"].string();
    const Json& record = values[name];
    const int64_t height = each["height"].integer(), width = each["width"].integer();
    const Tensor image = channels_last(field(prefix + "pixel_values", {1, 3, height, width}, 1.7));
    const PositionRule rule = each["interpolation"].string() == "offset" ? PositionRule::offset : PositionRule::size;
    std::vector<Tensor> stages;
    const VitRows last = vit(image, rule, [&](int64_t after, const VitRows& x) {
      const std::string stage = after == 0 ? "embeddings" : "block_" + std::to_string(after);
      if (!record.find(stage)) return;
      stages.push_back(to_host(x.rows).clone());
      lines.push_back(compare_statistics(name + " " + stage, stages.back(), record[stage], kLimit));
    });
    stages.push_back(to_host(vit.normed(last.rows)));
    const Tensor& output = stages.back();
    lines.push_back(compare_statistics(name + " output", output, record["output"], kLimit));
    lines.push_back(compare_numbers(name + " class token", first_eight(output), record["cls"], kLimit));
    const int64_t patches = output.shape[0] - 1;
    Tensor mean = zeros({output.shape[1]});
    for (int64_t c = 0; c < output.shape[1]; ++c) {
      double sum = 0;
      for (int64_t p = 1; p <= patches; ++p) sum += double(output.data<float>()[p * output.shape[1] + c]);
      mean.data<float>()[c] = float(sum / double(patches));
    }
    lines.push_back(compare_numbers(name + " mean patch", first_eight(mean), record["mean_patch"], kLimit));
    for (const Json& patch : record["patches"].items()) {
      const int64_t index = patch["index"].integer();
      lines.push_back(compare_numbers(name + " patch " + std::to_string(index), first_eight(output.select(1 + index)),
                                      patch["values"], kLimit));
    }
    const int64_t count = int64_t(stages.size());
    Tensor some({count, 2 * kEnds + 1, output.shape[1]});
    for (int64_t s = 0; s < count; ++s) {
      copy_into(some, s, sampled(stages[size_t(s)]).reshape({1, 2 * kEnds + 1, output.shape[1]}));
    }
    lines.push_back(compare_array(name + " sampled rows", some, folder + "/" + name + ".npy", kLimit));
    if (each["full"].boolean()) {
      lines.push_back(compare_array(name + " all rows", output, folder + "/" + name + "-full.npy", kLimit));
    }
  }
  return lines;
}

}  // namespace sat::test
