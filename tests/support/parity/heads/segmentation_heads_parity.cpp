// Logits, the same at the size of the encoder's input, and their loss; what `training` records needs gradients.
#include "tests/support/parity/heads/segmentation_heads_parity.h"

#include <algorithm>
#include <cmath>

#include "sat/nn/image/heads/segmentation_head.h"
#include "tests/support/golden.h"
#include "tests/support/parity/recorded.h"

namespace sat::test {

namespace {

constexpr double kLimit = 1e-5;  // absolute; the official code in f32 is off by 2e-6
constexpr int64_t kPatch = 14, kEvery = 5;

/// Every fifth row and column of [B, C, H, W].
Tensor sampled(const Tensor& x) {
  const int64_t planes = x.shape[0] * x.shape[1], rows = x.shape[2], columns = x.shape[3];
  Tensor some({x.shape[0], x.shape[1], (rows + kEvery - 1) / kEvery, (columns + kEvery - 1) / kEvery});
  float* to = some.data<float>();
  for (int64_t plane = 0; plane < planes; ++plane) {
    for (int64_t row = 0; row < rows; row += kEvery) {
      for (int64_t column = 0; column < columns; column += kEvery) {
        *to++ = x.data<float>()[(plane * rows + row) * columns + column];
      }
    }
  }
  return some;
}

/// The mean cross-entropy of logits [B, H, W, K] against int(unit("target") * K).
double cross_entropy(const Tensor& logits, const std::string& target) {
  const int64_t K = logits.shape[3], pixels = logits.numel() / K;
  const std::vector<double> u = unit(target, pixels);
  double sum = 0;
  for (int64_t i = 0; i < pixels; ++i) {
    const float* z = logits.data<float>() + i * K;
    const double top = double(*std::max_element(z, z + K));
    double total = 0;
    for (int64_t k = 0; k < K; ++k) total += std::exp(double(z[k]) - top);
    sum += top + std::log(total) - double(z[int64_t(u[size_t(i)] * double(K))]);
  }
  return sum / double(pixels);
}

}  // namespace

std::vector<ParityLine> compare_segmentation_heads(const std::string& folder, Recorded what) {
  const Json recorded = read_json(folder + "/case.json"), values = read_json(folder + "/values.json");
  const std::string prefix = recorded["prefix"].string();
  const int64_t B = recorded["batch"].integer(), h = recorded["grid"][0].integer(), w = recorded["grid"][1].integer();
  HeadConfig config;
  config.width = recorded["width"].integer();
  config.classes = recorded["classes"].integer();
  config.channels = recorded["channels"].integer();
  config.pyramid = true;
  config.pool_scales = recorded["pool_scales"].integers();
  std::vector<Tensor> maps;
  for (int block = 0; block < 4; ++block) {
    const std::string name = prefix + "feature_" + std::to_string(block);
    maps.push_back(channels_last(field(name, {B, config.width, h, w}, 1)));
  }
  std::vector<ParityLine> lines;
  for (HeadConfig::Kind kind : {HeadConfig::Kind::linear, HeadConfig::Kind::linear_bn, HeadConfig::Kind::upernet}) {
    config.kind = kind;
    config.name = kind == HeadConfig::Kind::upernet ? "head" : "conv";
    const std::string name = name_of(kind);
    const Json& record = values[name];
    const auto head = make_head({config, generated_downstream(prefix + name + ".")});
    const bool one = kind != HeadConfig::Kind::upernet;
    const Tensor logits = to_host(head->logits(one ? std::vector<Tensor>{maps.back()} : maps));
    const Tensor large = to_host(resized(to_compute_device(logits), {kPatch * h, kPatch * w}));
    const Tensor published = channels_first(logits), published_large = channels_first(large);
    lines.push_back(compare_statistics(name + " logits", published, record["output"], kLimit));
    lines.push_back(compare_statistics(name + " upsampled", published_large, record["upsampled"], kLimit));
    if (what == Recorded::arrays) {
      lines.push_back(compare_array(name + " logits, all", published, folder + "/" + name + ".npy", kLimit));
      lines.push_back(compare_array(name + " upsampled, every fifth", sampled(published_large),
                                    folder + "/" + name + "-upsampled.npy", kLimit));
    }
    const double loss = cross_entropy(large, prefix + "target");
    lines.push_back(compare_number(name + " loss", loss, record["loss"].number(), kLimit));
  }
  return lines;
}

}  // namespace sat::test
