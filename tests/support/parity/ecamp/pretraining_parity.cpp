// The pre-training forward pass, stage by stage, and its losses.
#include <cmath>

#include "sat/nn/image/ecamp/pretraining/pretraining_losses.h"
#include "tests/support/golden.h"
#include "tests/support/parity/ecamp/ecamp_parity.h"
#include "tests/support/parity/ecamp/sampling.h"
#include "tests/support/parity/recorded.h"

namespace sat::test {

namespace {

constexpr double kLimit = 2e-5;      // absolute; the official code in f32 is off by 3e-6
constexpr double kLossLimit = 1e-5;  // relative
constexpr int64_t kClsId = 2, kMaskId = 3, kFirstWord = 5;

/// As generated_ecamp, the position tables by their formula.
Weights weights_of(const std::string& prefix) {
  const Weights others = generated_ecamp(prefix);
  return Weights::made([others](const std::string& name, const Shape& shape) {
    if (name != "pos_embed" && name != "decoder_pos_embed") return others.get(name, shape);
    const auto side = int64_t(std::lround(std::sqrt(double(shape[1] - 1))));
    return fixed_positions(shape[2], side, side);
  });
}

struct Batch {
  TokenRows reports;
  EcampTargets targets;
  PatchMasks masks;
};

Batch batch_of(const Json& recorded, const EcampConfig& config) {
  const std::string prefix = recorded["prefix"].string();
  const int64_t B = recorded["batch"].integer(), tokens = recorded["tokens"].integer();
  const auto draw = [&](const char* name, int64_t count) { return unit(prefix + name, count); };
  const std::vector<double> words = draw("labels", B * tokens), masked = draw("mlm_mask", B * tokens),
                            weights = draw("weights", B * tokens), noise = draw("noise", B * config.patches());
  Batch batch;
  for (int64_t b = 0; b < B; ++b) {
    const int64_t length = recorded["lengths"][size_t(b)].integer();
    std::vector<int64_t> ids;
    std::vector<uint8_t> attended;
    for (int64_t t = 0; t < tokens; ++t) {
      const auto at = size_t(b * tokens + t);
      const int64_t word = t == 0 ? kClsId
                           : t >= length
                               ? 0
                               : int64_t(words[at] * double(config.text.vocabulary - kFirstWord)) + kFirstWord;
      batch.targets.words.push_back(word);
      batch.targets.word_weights.push_back(weights[at] < 0.2 ? 0.05f : 1);
      ids.push_back(t > 0 && t < length && masked[at] < 0.5 ? kMaskId : word);
      attended.push_back(t < length);
    }
    batch.reports.append(ids, attended);
    batch.targets.focuses.push_back({recorded["column"][size_t(b)].integer(), recorded["row"][size_t(b)].integer()});
  }
  batch.masks = mask_patches({noise.begin(), noise.end()}, B);
  const Tensor grey = field(prefix + "big_image", {B, 1, 2 * config.height(), 2 * config.width()}, 1.6);
  batch.targets.images = concat_channels(std::vector<Tensor>(3, channels_last(grey)));
  return batch;
}

}  // namespace

std::vector<ParityLine> compare_ecamp_pretraining(const std::string& folder) {
  const Json recorded = read_json(folder + "/case.json"), values = read_json(folder + "/values.json");
  const EcampConfig config = ecamp_base();
  const Batch batch = batch_of(recorded, config);
  const int64_t B = batch.masks.images, tokens = batch.reports.rows() / B;
  const EcampPretraining network(weights_of(recorded["prefix"].string()), config);
  const EcampForward made = network(batch.targets.images, batch.masks, batch.reports);
  const EcampLosses losses = pretraining_losses(made, batch.masks, batch.targets);

  std::vector<ParityLine> lines;
  for (int64_t b = 0; b < B; ++b) {
    const auto first = batch.masks.kept.begin() + b * batch.masks.seen;
    lines.push_back(compare_numbers("kept patches of image " + std::to_string(b), {first, first + batch.masks.seen},
                                    values["kept_ids"][size_t(b)], 0));
    std::string mask;
    for (int64_t p = 0; p < batch.masks.patches; ++p) {
      mask += batch.masks.removed[size_t(b * batch.masks.patches + p)] ? '1' : '0';
    }
    lines.push_back({"mask of image " + std::to_string(b), mask == values["mask"][size_t(b)].string() ? 0. : 1., 0});
  }
  const auto compare = [&](const std::string& name, const Tensor& got) {
    lines.push_back(compare_statistics(name, got, values[name], kLimit));
    const Tensor some = sampled(to_host(got), recorded["sampling"][name].string());
    lines.push_back(compare_array(name + " sampled", some, folder + "/" + name + ".npy", kLimit));
  };
  const auto by_report = [&](const Tensor& rows) { return to_host(rows).reshape({B, tokens, rows.shape[1]}); };
  const Tensor sharpened = channels_first(to_host(made.sharpened));
  compare("img224", channels_first(to_host(made.image)));
  compare("latent", made.latent);
  compare("pred", made.predicted);
  compare("sr", sharpened);
  compare("gap", to_host(made.pooled).reshape({B, 1, made.pooled.shape[1]}));
  compare("fusion", by_report(made.fused));
  compare("text", by_report(made.text));
  compare("logits", by_report(made.logits));
  int64_t positive = 0;
  for (int64_t i = 0; i < sharpened.numel(); ++i) positive += sharpened.data<float>()[i] > 0 ? 1 : 0;
  lines.push_back(compare_number("fraction of sharpened pixels above 0", double(positive) / double(sharpened.numel()),
                                 values["sr_fraction_positive"].number(), 1e-5));
  const std::pair<const char*, double> each[] = {
      {"mim", losses.pixels}, {"res", losses.sharpness}, {"mlm", losses.words}, {"total", losses.total()}};
  for (const auto& [name, value] : each) {
    lines.push_back(compare_number(std::string("loss ") + name + ", relative", value / values["losses"][name].number(),
                                   1, kLossLimit));
  }
  return lines;
}

}  // namespace sat::test
