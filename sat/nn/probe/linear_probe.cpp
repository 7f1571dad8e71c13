// The probe's one product, with the standardisation multiplied into it.
#include "sat/nn/probe/linear_probe.h"

#include <algorithm>
#include <cmath>

#include "sat/tensor/ops.h"
#include "sat/tensor/weights.h"

namespace sat {

void check_probe(const LinearProbe& probe, const std::string& source) {
  const int64_t K = int64_t(probe.labels.size());
  SAT_CHECK(K > 0 && probe.weight.shape.rank() == 2 && probe.weight.shape[0] == K && probe.weight.shape[1] > 0, source,
            ": ", K, " labels and a weight of shape ", probe.weight.shape, ", it needs one row a label");
  SAT_CHECK(!probe.exclusive || K >= 2, source, ": ", K, " class, at least 2 are needed");
  const Shape channels{probe.channels()};
  SAT_CHECK(probe.bias.shape == Shape({K}) && probe.mean.shape == channels && probe.deviation.shape == channels, source,
            ": for a weight of shape ", probe.weight.shape, " the bias has shape ", probe.bias.shape, ", the mean ",
            probe.mean.shape, " and the deviation ", probe.deviation.shape);
  for (const Tensor* tensor : {&probe.weight, &probe.bias, &probe.mean, &probe.deviation}) {
    SAT_CHECK(tensor->dtype == DType::f32 && count_not_finite(*tensor) == 0, source,
              ": weight, bias, mean and deviation must be finite floats");
  }
  const float* deviation = probe.deviation.data<float>();
  for (int64_t c = 0; c < probe.channels(); ++c) {
    SAT_CHECK(deviation[c] > 0, source, ": the deviation of channel ", c, " is ", deviation[c]);
  }
  SAT_CHECK(int64_t(probe.thresholds.size()) == K, source, ": ", probe.thresholds.size(), " thresholds for ", K,
            " labels");
  for (const double threshold : probe.thresholds) {
    SAT_CHECK(threshold >= 0 && threshold <= 1, source, ": a threshold of ", threshold, ", it lies in [0, 1]");
  }
}

Tensor probe_logits(const LinearProbe& probe, const Tensor& features) {
  const int64_t K = probe.weight.shape[0], C = probe.channels();
  SAT_CHECK(features.shape.rank() == 2 && features.shape[1] == C, "features of shape ", features.shape,
            " for a probe of ", C, " channels");
  Tensor weight({K, C}), bias({K});
  for (int64_t k = 0; k < K; ++k) {
    const float *w = probe.weight.data<float>() + k * C, *mean = probe.mean.data<float>(),
                *deviation = probe.deviation.data<float>();
    double shift = double(probe.bias.data<float>()[k]);
    for (int64_t c = 0; c < C; ++c) {
      const double scaled = double(w[c]) / double(deviation[c]);
      weight.data<float>()[k * C + c] = float(scaled);
      shift -= scaled * double(mean[c]);
    }
    bias.data<float>()[k] = float(shift);
  }
  return linear(to_compute_device(features), pack_linear(weight), to_compute_device(bias));
}

Tensor probabilities_of(const Tensor& logits, bool exclusive) {
  const Tensor z = to_host(logits);
  Tensor probabilities(z.shape);
  const int64_t K = z.shape[-1], rows = z.numel() / K;
  const float* from = z.data<float>();
  float* to = probabilities.data<float>();
  for (int64_t i = 0; i < rows; ++i, from += K, to += K) {
    if (!exclusive) {
      for (int64_t k = 0; k < K; ++k) to[k] = float(1 / (1 + std::exp(-double(from[k]))));
      continue;
    }
    const double largest = *std::max_element(from, from + K);
    double sum = 0;
    for (int64_t k = 0; k < K; ++k) sum += std::exp(double(from[k]) - largest);
    for (int64_t k = 0; k < K; ++k) to[k] = float(std::exp(double(from[k]) - largest) / sum);
  }
  return probabilities;
}

Tensor probe_probabilities(const LinearProbe& probe, const Tensor& features) {
  return probabilities_of(probe_logits(probe, features), probe.exclusive);
}

Tensor probe_input(const std::vector<Tensor>& cls, int64_t blocks, const Tensor& patches) {
  SAT_CHECK(blocks >= 1 && blocks <= int64_t(cls.size()), "a probe on the last ", blocks, " blocks, there are ",
            cls.size());
  std::vector<Tensor> parts(cls.end() - blocks, cls.end());
  if (!patches.empty()) {
    SAT_CHECK(patches.shape.rank() == 3 && patches.shape[0] == parts[0].shape[0], "patches of shape ", patches.shape,
              " for ", parts[0].shape[0], " images");
    const int64_t B = patches.shape[0], P = patches.shape[1];
    std::vector<int64_t> first(size_t(B) + 1);
    for (int64_t b = 0; b <= B; ++b) first[size_t(b)] = b * P;
    parts.push_back(
        mean_of_rows(reshape(patches, {B * P, patches.shape[2]}), first, std::vector<uint8_t>(size_t(B * P), 1)));
  }
  return concat_channels(parts);
}

}  // namespace sat
