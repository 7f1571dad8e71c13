// Samples to a batch, forward, backward, gradients by name.
#include "sat/nn/train/segmentation/segmentation_step.h"

#include <utility>

#include "sat/nn/train/segmentation_loss.h"
#include "sat/tensor/autograd/tape.h"
#include "sat/tensor/profile.h"

namespace sat {

namespace {

/// One behind the other along a new axis; of one sample a view.
Tensor stacked(const std::vector<TrainingSample>& samples, Tensor TrainingSample::*part) {
  const Tensor& first = samples[0].*part;
  std::vector<int64_t> sizes = first.shape.sizes();
  sizes.insert(sizes.begin(), int64_t(samples.size()));
  if (samples.size() == 1) return first.reshape(Shape(sizes));
  Tensor all(Shape(sizes), first.dtype);
  for (size_t i = 0; i < samples.size(); ++i) {
    const Tensor& one = samples[i].*part;
    SAT_CHECK(one.shape == first.shape, "a batch of samples of shapes ", first.shape, " and ", one.shape);
    copy_into(all, int64_t(i), one.reshape(Shape(sizes).with(0, 1)));
  }
  return all;
}

double number(const Tensor& x, int64_t i) {
  const Tensor host = to_host(x);
  return Context::current().dry() ? 0 : double(host.data<float>()[i]);
}

const char* name_of(QueryKind kind) {
  return kind == QueryKind::positive ? "positive" : kind == QueryKind::negative ? "negative" : "filler";
}

/// Losses by scale, and of every structure asked for at full resolution.
Json details_of(const SegmentationLoss& loss, const std::vector<TrainingSample>& samples) {
  Json scales = Json::array(), cases = Json::array();
  for (const MaskLoss& scale : loss.scales) scales.push(number(scale.total, 0));
  const Tensor dice = to_host(loss.scales[0].dice), bce = to_host(loss.scales[0].bce);
  const int64_t N = dice.shape[1];
  for (size_t b = 0; b < samples.size(); ++b) {
    const TrainingSample& sample = samples[b];
    Json structures = Json::object();
    for (int64_t n = 0; n < N; ++n) {
      if (sample.kinds[size_t(n)] == QueryKind::filler) continue;
      const int64_t at = int64_t(b) * N + n;
      structures.set(sample.structures[size_t(n)], Json::object({{"kind", name_of(sample.kinds[size_t(n)])},
                                                                 {"dice", double(dice.data<float>()[at])},
                                                                 {"bce", double(bce.data<float>()[at])}}));
    }
    cases.push(Json::object({{"case", sample.case_id},
                             {"dataset", sample.dataset},
                             {"start", Json::array({sample.start[0], sample.start[1], sample.start[2]})},
                             {"structures", std::move(structures)}}));
  }
  return Json::object({{"scales", std::move(scales)}, {"cases", std::move(cases)}});
}

}  // namespace

SegmentationStep::SegmentationStep(const SatConfig& config, const Weights& weights, const ParameterGroups& groups,
                                   TrainingQueries queries, const SegmentationStepOptions& options)
    : config_(config),
      queries_(std::move(queries)),
      options_(options),
      weights_(weights.for_training([groups](const std::string& name) { return groups.learns(name); })) {
  SAT_CHECK(queries_.width() == config_.text_dim, "text embeddings have ", queries_.width(),
            " numbers, the model takes ", config_.text_dim);
  Tape tape;
  const RecordOn record(&tape);  // so that nothing is packed
  network();
  parameters_ = weights_.parameters();
  parameters_[kModalityTable] = queries_.table();
}

SatModel SegmentationStep::network() const {
  return SatModel(weights_, config_, options_.deep_supervision ? Heads::all : Heads::final_only);
}

NamedTensors SegmentationStep::gradients(std::vector<TrainingSample> samples, uint64_t key, BatchReport& report) const {
  profile::Stopwatch watch;
  SegmentationBatch batch;
  batch.images = stacked(samples, &TrainingSample::image);
  batch.images =
      reshape(batch.images,
              Shape({batch.images.shape[0], batch.images.shape[1], batch.images.shape[2], batch.images.shape[3], 1}));
  batch.masks.bits = stacked(samples, &TrainingSample::masks);
  std::vector<float> counted;
  for (const TrainingSample& sample : samples) {
    counted.insert(counted.end(), sample.weights.begin(), sample.weights.end());
  }
  const auto B = int64_t(samples.size()), N = int64_t(samples[0].structures.size());
  batch.masks.counted = Context::current().dry() ? Tensor({B, N}) : from_values({B, N}, counted);
  for (TrainingSample& sample : samples) sample.image = sample.masks = Tensor();  // the batch has them
  report.data_seconds += watch.lap();

  Tape tape(options_.recomputed_stages);
  const RecordOn record(&tape);
  SegmentationLoss loss;
  {
    batch.queries = queries_.of(samples);
    const SatModel model = network();
    loss = segmentation_loss(model, batch, {options_.dropout, key});
    batch = {};
  }
  report.loss = number(loss.total, 0);
  if (!Context::current().dry()) report.details = details_of(loss, samples);
  report.forward_seconds += watch.lap();

  tape.run(std::exchange(loss, {}).total);
  NamedTensors gradients;
  for (const auto& [name, parameter] : parameters_) {
    if (parameter.history == 0) continue;
    Tensor gradient = tape.take_gradient(parameter);
    if (!gradient.empty()) gradients[name] = to_host(gradient);
  }
  report.backward_seconds += watch.lap();
  return gradients;
}

TrainingSample virtual_sample(const std::array<int64_t, 3>& crop, int64_t N) {
  TrainingSample sample;
  sample.image = Tensor({crop[0], crop[1], crop[2]});
  sample.masks = Tensor({crop[0], crop[1], crop[2], (N + 7) / 8}, DType::u8);
  sample.modality = "ct";
  sample.structures.assign(size_t(N), kFillerName);
  sample.kinds.assign(size_t(N), QueryKind::filler);
  sample.weights.assign(size_t(N), 1);
  return sample;
}

}  // namespace sat
