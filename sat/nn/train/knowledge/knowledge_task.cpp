// Batches, losses and gradients of knowledge pre-training.
#include "sat/nn/train/knowledge/knowledge_task.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "sat/io/files/hash.h"
#include "sat/tensor/autograd/tape.h"
#include "sat/tensor/context.h"
#include "sat/tensor/profile.h"

namespace sat {

namespace {

constexpr int64_t kEncodedAtOnce = 32;  // texts that validation encodes together

double number(const Tensor& x) { return double(to_host(x).data<float>()[0]); }

/// Of all statements, their shares, and all scans with their structures.
std::string hash_of(const KnowledgePairs& pairs, const std::optional<KnowledgeTask::Atlas>& atlas) {
  Sha256 hash;
  const auto add = [&](const std::string& text) {
    const std::string part = std::to_string(text.size()) + ":" + text;
    hash.update(part.data(), int64_t(part.size()));
  };
  for (size_t s = 0; s < pairs.sources().size(); ++s) {
    add(Json(pairs.share(s)).dump());
    for (const KnowledgeItem& item : pairs.sources()[s].items) {
      add(item.name);
      add(item.text);
      add(item.target);
    }
  }
  if (!atlas) return hash.finish();
  for (const PreparedCase& one : atlas->sampler.cases()) {
    add(one.source.dataset);
    add(one.source.id);
    add(one.source.modality);
    for (const StructureSource& structure : one.source.structures) add(structure.name);
    for (const int64_t size : one.size) add(std::to_string(size));
  }
  return hash.finish();
}

std::optional<SatConfig> encoder_of(const std::optional<KnowledgeTask::Atlas>& atlas) {
  return atlas ? std::optional<SatConfig>(atlas->encoder) : std::nullopt;
}

/// Samples of any numbers of structures, side by side.
AtlasBatch batch_of(const std::vector<TrainingSample>& samples) {
  AtlasBatch batch;
  for (const TrainingSample& sample : samples) {
    batch.count = std::max(batch.count, int64_t(sample.structures.size()));
  }
  const Shape& crop = samples[0].image.shape;
  const auto crops = int64_t(samples.size()), bytes = (batch.count + 7) / 8;
  batch.images = Tensor({crops, crop[0], crop[1], crop[2], 1});
  batch.masks = zeros({crops, crop[0], crop[1], crop[2], bytes}, DType::u8);
  for (int64_t b = 0; b < crops; ++b) {
    const TrainingSample& sample = samples[size_t(b)];
    copy_into(batch.images, b, sample.image.reshape(batch.images.shape.with(0, 1)));
    const int64_t own = sample.masks.shape[3], voxels = crop[0] * crop[1] * crop[2];
    const uint8_t* from = sample.masks.data<uint8_t>();
    uint8_t* to = batch.masks.data<uint8_t>() + b * voxels * bytes;
    for (int64_t v = 0; v < voxels; ++v) std::copy_n(from + v * own, own, to + v * bytes);
    const auto modality = int64_t(pretraining_modality(sample.modality));
    for (size_t n = 0; n < sample.structures.size(); ++n) {
      batch.places.push_back(b * batch.count + int64_t(n));
      batch.names.push_back(sample.structures[n]);
      batch.modalities.push_back(modality);
    }
  }
  return batch;
}

}  // namespace

KnowledgeTask::KnowledgeTask(const KnowledgeStart& start, WordPiece vocabulary, KnowledgePairs pairs,
                             std::optional<Atlas> atlas, const KnowledgeTaskOptions& options)
    : stage_(atlas ? KnowledgeStage::texts_and_scans : KnowledgeStage::texts),
      options_(options),
      vocabulary_(std::move(vocabulary)),
      pairs_(std::move(pairs)),
      atlas_(std::move(atlas)),
      start_(start),
      weights_(start.weights.for_training([stage = stage_, open = options.open_bert_layer](const std::string& name) {
        return knowledge_learns(name, stage, open);
      })),
      data_(hash_of(pairs_, atlas_)) {
  SAT_CHECK(options_.pairs >= 2, "a text step of ", options_.pairs, " pairs has nothing to tell apart; needs 2");
  SAT_CHECK(pairs_.items() > 0, "the knowledge files hold no statement that can be drawn");
  Tape tape;
  const RecordOn record(&tape);  // so that nothing is packed
  // The encoder holds what is left for unknown: the model reads its own before.
  const std::string tokens = start.text.kind == TextKind::ours ? "text_tower" : "model";
  const Weights words = weights_ / tokens;
  int64_t hidden = 0;
  for (const Weights::Entry& entry : words.entries()) {
    if (entry.name.find("word_embeddings.weight") != std::string::npos) hidden = entry.shape[-1];
  }
  model_.emplace(weights_, hidden, encoder_of(atlas_));
  encoder_.emplace(weights_, vocabulary_, start.text);
}

KnowledgeTask::~KnowledgeTask() = default;

Json KnowledgeTask::model() const {
  Json json = Json::object({{"text", to_json(encoder_->config())},
                            {"stage", int64_t(stage_)},
                            {"open_bert_layer", options_.open_bert_layer}});
  if (atlas_) json.set("encoder", to_json(atlas_->encoder));
  return json;
}

TextBatch KnowledgeTask::next_texts(int64_t batch) const {
  return draw_texts(pairs_, *encoder_, options_.seed, batch * options_.pairs, options_.pairs);
}

std::vector<TrainingSample> KnowledgeTask::next_samples(int64_t batch) {
  if (!loader_ || loader_->step() != batch) {
    loader_.reset();  // ends its threads
    LoaderOptions options;
    options.batch = options_.crops;
    options.first_step = batch;
    options.last_step = std::min(options_.last_step, INT64_MAX / options_.accumulation) * options_.accumulation - 1;
    options.workers = options_.workers;
    options.ahead = 2 * options_.crops;
    loader_ = std::make_unique<SampleLoader>(
        [this](int64_t step, int64_t item) { return atlas_->sampler.sample(step, item); }, options);
  }
  return loader_->next();
}

Tensor KnowledgeTask::text_loss(const TextBatch& batch, Json& details) const {
  std::vector<TextEncoder::Tokens> all = batch.names;
  all.insert(all.end(), batch.texts.begin(), batch.texts.end());
  const Tensor sentences = encoder_->sentences(all);
  const auto count = int64_t(batch.labels.size());
  const KnowledgeModel::TextLoss loss =
      model_->text_loss(slice(sentences, 0, count), slice(sentences, count, 2 * count), batch.labels);
  details = Json::object({{"batch", "texts"}, {"raw", number(loss.raw)}});
  if (!loss.projected.empty()) details.set("projected", number(loss.projected));
  return loss.total;
}

Tensor KnowledgeTask::atlas_loss(std::vector<TrainingSample> samples, Json& details) const {
  Json cases = Json::array();
  for (const TrainingSample& sample : samples) {
    Json structures = Json::array();
    for (const std::string& name : sample.structures) structures.push(name);
    cases.push(Json::object({{"case", sample.case_id},
                             {"dataset", sample.dataset},
                             {"start", Json::array({sample.start[0], sample.start[1], sample.start[2]})},
                             {"structures", std::move(structures)}}));
  }
  const AtlasBatch batch = batch_of(std::exchange(samples, {}));
  std::vector<TextEncoder::Tokens> names;
  for (const std::string& name : batch.names) names.push_back(encoder_->tokens(name));
  details = Json::object({{"batch", "scans"}, {"cases", std::move(cases)}});
  return model_->atlas_loss(encoder_->sentences(names), batch);
}

NamedTensors KnowledgeTask::gradients(const BatchPlace& place, BatchReport& report) {
  const int64_t batch = (place.step - 1) * options_.accumulation + place.part;
  const bool of_scans = stage_ == KnowledgeStage::texts_and_scans && place.update == 0;
  profile::Stopwatch watch;
  std::vector<TrainingSample> samples;
  TextBatch texts;
  if (of_scans) {
    samples = next_samples(batch);
    report.wait_seconds += watch.lap();
  } else {
    texts = next_texts(batch);
    drawn_ = (batch + 1) * options_.pairs;
    report.data_seconds += watch.lap();
  }

  Tape tape(options_.recomputed_stages);
  const RecordOn record(&tape);
  Tensor loss = of_scans ? atlas_loss(std::move(samples), report.details) : text_loss(texts, report.details);
  report.loss = number(loss);
  report.details.set("loss", report.loss).set("temperature", number(model_->temperature()));
  report.forward_seconds += watch.lap();

  tape.run(std::exchange(loss, {}));
  NamedTensors gradients;
  for (const auto& [name, parameter] : parameters()) {
    if (parameter.history == 0) continue;
    Tensor gradient = tape.take_gradient(parameter);
    if (!gradient.empty()) gradients[name] = to_host(gradient);
  }
  report.backward_seconds += watch.lap();
  return gradients;
}

ValidationReport KnowledgeTask::validate(const NamedTensors& values) {
  profile::Stopwatch watch;
  NamedTensors all = parameters();
  for (const auto& [name, value] : values) all[name] = value;
  const TextEncoder encoder = text_encoder_of(start_, all, vocabulary_);
  const int64_t count = std::min(options_.monitored_pairs, std::max(drawn_, options_.pairs));
  const TextBatch last = draw_texts(pairs_, encoder, options_.seed, std::max<int64_t>(0, drawn_ - count), count);
  Tensor u({count, encoder.hidden()}), v({count, encoder.hidden()});
  for (int64_t first = 0; first < count; first += kEncodedAtOnce) {
    const int64_t end = std::min(count, first + kEncodedAtOnce);
    const auto some = [&](const std::vector<TextEncoder::Tokens>& of) {
      return normalize_rows(encoder.sentences({of.begin() + first, of.begin() + end}));
    };
    copy_into(u, first, to_host(some(last.names)));
    copy_into(v, first, to_host(some(last.texts)));
  }
  const Retrieval retrieval = retrieval_of(to_compute_device(u), to_compute_device(v), last.labels);
  ValidationReport report;
  report.score = retrieval.mean_at_one();
  report.details = Json::object({{"retrieval", to_json(retrieval)}, {"seconds", watch.lap()}});
  return report;
}

}  // namespace sat
