// Parity of knowledge pre-training's steps: losses, gradients, and parameters behind the optimiser.
#include <algorithm>
#include <cmath>

#include "sat/nn/train/knowledge/contrastive_losses.h"
#include "sat/nn/train/knowledge/knowledge_model.h"
#include "sat/nn/train/optimiser/optimiser.h"
#include "sat/tensor/autograd/tape.h"
#include "tests/support/golden.h"
#include "tests/support/parity/knowledge/knowledge_parity.h"
#include "tests/support/parity/recorded.h"
#include "tests/support/parity/sat_parity.h"

namespace sat::test {

namespace {

constexpr double kLoss = 4e-7;      // relative
constexpr double kArray = 3e-6;     // absolute
constexpr double kGradient = 2e-4;  // of its norm: instance norms over few voxels magnify f32
// Of a block's gain and bias: a voxel whose norm lies within rounding of leaky ReLU's kink falls on either side of it,
// and convolutions by Winograd round differently than direct ones, with which these are within 2.1e-5 too.
constexpr double kKink = 1e-3;
constexpr double kAlone = 5e-6;      // the same of the losses by themselves
constexpr double kParameter = 3e-6;  // absolute, of parameters whose gradients are well above their rounding

struct Setup {
  Json info, values;
  std::string prefix;

  explicit Setup(const std::string& folder)
      : info(read_json(folder + "/case.json")),
        values(read_json(folder + "/values.json")),
        prefix(info["prefix"].string()) {}

  /// The generated weights; the temperature is recorded, and what stands for the text encoder's output is a parameter.
  Weights weights() const {
    const auto temperature = float(info["temperature"].number());
    return Weights::made([prefix = prefix, temperature](const std::string& name, const Shape& shape) {
             if (name == "temperature") return full(shape, temperature);
             if (name.rfind("text_tower.", 0) != 0) return generated_weight(name, shape, prefix);
             const std::string which = name.substr(11);
             return field(prefix + (which == "atlas"   ? "text_atlas"
                                    : which == "text1" ? "text_1"
                                                       : "text_2"),
                          shape, 1);
           })
        .for_training();
  }
  int64_t width() const { return 768; }
};

AtlasBatch recorded_batch(const Setup& setup) {
  const std::vector<int64_t> size = setup.info["image"].integers();
  const auto crops = int64_t(setup.info["labels"].size());
  AtlasBatch batch;
  batch.count = setup.info["max_classes"].integer();
  batch.images = field(setup.prefix + "image", {crops, size[0], size[1], size[2], 1}, 1.5);
  batch.masks = zeros({crops, size[0], size[1], size[2], (batch.count + 7) / 8}, DType::u8);
  const int64_t voxels = size[0] * size[1] * size[2], bytes = batch.masks.shape[4];
  const std::vector<double> draws = unit(setup.prefix + "mask", crops * batch.count * voxels);
  const double fraction = setup.info["mask_fraction"].number();
  for (int64_t b = 0; b < crops; ++b) {
    const std::vector<std::string> names = setup.info["labels"][size_t(b)].strings();
    for (size_t n = 0; n < names.size(); ++n) {
      const int64_t place = b * batch.count + int64_t(n);
      batch.places.push_back(place);
      batch.names.push_back(names[n]);
      batch.modalities.push_back(setup.info["modality"][size_t(b)].integer());
      uint8_t* bits = batch.masks.data<uint8_t>() + b * voxels * bytes + int64_t(n) / 8;
      for (int64_t v = 0; v < voxels; ++v) {
        if (draws[size_t(place * voxels + v)] < fraction) bits[v * bytes] = uint8_t(bits[v * bytes] | 1 << n % 8);
      }
    }
  }
  return batch;
}

double value_of(const Tensor& x) { return double(to_host(x).data<float>()[0]); }

ParityLine relative(const std::string& quantity, double got, const Json& want) {
  return {quantity + " (relative)", std::fabs(got - want.number()) / std::fabs(want.number()), kLoss};
}

double norm_of(const Tensor& x) { return gradient_norm({{"x", x}}); }

/// The largest difference of `norm`, `first` and `mid`, the ends absolutely.
double record_difference(const Tensor& x, const Json& record) {
  double worst = std::fabs(norm_of(x) - record["norm"].number());
  for (const auto& [key, from] : {std::pair{"first", int64_t(0)}, {"mid", x.numel() / 2}}) {
    const std::vector<double> want = record[key].numbers();
    for (size_t i = 0; i < want.size(); ++i) {
      worst = std::max(worst, std::fabs(double(x.data<float>()[from + int64_t(i)]) - want[i]));
    }
  }
  return worst;
}

bool is_beside_kink(const std::string& name) { return name.find(".norm.") != std::string::npos; }

/// Those of the tape by the names that are recorded; others must have none.
NamedTensors compare_gradients(const std::string& step, Tape& tape, const Weights& weights, const Json& record,
                               std::vector<ParityLine>& lines) {
  NamedTensors gradients;
  for (const auto& [name, parameter] : weights.parameters()) {
    Tensor gradient = tape.take_gradient(parameter);
    if (!gradient.empty()) gradients[name] = std::move(gradient);
  }
  double worst = 0, beside_kink = 0, cancelled = 0;
  int64_t wrong = gradients.size() == record["gradients"].size() ? 0 : 1;
  for (const auto& [name, want] : record["gradients"].members()) {
    const auto got = gradients.find(name);
    if (got == gradients.end()) {
      ++wrong;
    } else if (want["norm"].number() < 1e-12) {  // a bias that the norm behind it takes off again
      cancelled = std::max(cancelled, norm_of(got->second));
    } else {
      double& off = is_beside_kink(name) ? beside_kink : worst;
      off = std::max(off, record_difference(got->second, want) / want["norm"].number());
    }
  }
  lines.push_back({step + ": parameters with a gradient", double(wrong), 0});
  lines.push_back({step + ": gradients (of their norm)", worst, kGradient});
  if (beside_kink > 0) lines.push_back({step + ": gradients of gains and biases", beside_kink, kKink});
  lines.push_back({step + ": gradients that are zero", cancelled, 1e-12});
  return gradients;
}

/// After a step of AdamW, whose first steps are about rate * sign(gradient): where a gradient is within its rounding,
/// so is the sign, and a parameter may be off by two rates.
void compare_parameters(const std::string& step, const Weights& weights, const Json& record, const Json& gradients,
                        double rate, std::vector<ParityLine>& lines) {
  double ends = 0, norms = 0, loose_norms = 0, loose = 0;
  for (const auto& [name, want] : record.members()) {
    const Tensor& got = weights.parameters().at(name);
    const double norm = gradients[name]["norm"].number();
    double& worst_norm = is_beside_kink(name) ? loose_norms : norms;
    worst_norm =
        std::max(worst_norm, std::fabs(norm_of(got) - want["norm"].number()) / std::max(1., want["norm"].number()));
    for (const auto& [key, from] : {std::pair{"first", int64_t(0)}, {"mid", got.numel() / 2}}) {
      const std::vector<double> values = want[key].numbers(), slopes = gradients[name][key].numbers();
      for (size_t i = 0; i < values.size(); ++i) {
        const double off = std::fabs(double(got.data<float>()[from + int64_t(i)]) - values[i]);
        const bool settled = std::fabs(slopes[i]) > 5 * kKink * norm;
        double& worst = settled && norm > 1e-12 ? ends : loose;
        worst = std::max(worst, off);
      }
    }
  }
  lines.push_back({step + ": parameters after it", ends, kParameter});
  lines.push_back({step + ": norms of parameters (relative)", norms, kParameter});
  if (loose_norms > 0) lines.push_back({step + ": norms of gains and biases (relative)", loose_norms, rate});
  lines.push_back({step + ": parameters whose gradient is rounding", loose, 2.01 * rate});
}

Optimiser recorded_optimiser(const Json& recorded) {
  OptimiserOptions options;
  options.weight_decay = recorded["weight_decay"].number();
  options.decay_vectors = false;
  options.beta1 = recorded["beta1"].number();
  options.beta2 = recorded["beta2"].number();
  options.eps = recorded["eps"].number();
  return Optimiser(options);
}

Tensor volumes_first(const Tensor& x) {  // [B, H, W, D, C] -> [B, C, H, W, D]
  const Shape& s = x.shape;
  return channels_first(x.reshape({s[0], s[1], s[2] * s[3], s[4]})).reshape({s[0], s[4], s[1], s[2], s[3]});
}

/// The atlas step's forward pass, piece by piece.
void compare_towers(const std::string& folder, const Setup& setup, const AtlasBatch& batch, const Weights& weights,
                    const KnowledgeModel& model, std::vector<ParityLine>& lines) {
  const Json& record = setup.values["atlas"];
  double encoder = 0;
  size_t stage = 0;
  const auto probe = [&](const std::string&, const Tensor& features) {
    const ParityLine line = compare_statistics("", volumes_first(to_host(features)), record["encoder"][stage++], 0);
    encoder = std::max(encoder, line.error);
  };
  const Tensor means = model.atlas().pool(batch.images, batch.masks, batch.count, probe);
  lines.push_back({"atlas: encoder stages", encoder, 1e-4});
  lines.push_back(compare_statistics("atlas: means over masks", means, record["pooled"], kArray));
  const Tensor rows = means.reshape({means.shape[0] * means.shape[1], means.shape[2]});
  lines.push_back(
      compare_array("atlas: means of structures", gather_rows(rows, batch.places), folder + "/pooled.npy", kArray));
  const Tensor projected = model.atlas().project(means);
  lines.push_back(compare_statistics("atlas: projected", projected, record["projected"], kArray));

  const Tensor atlas = model.atlas_rows(batch);
  lines.push_back(compare_array("atlas: rows", atlas, folder + "/atlas_features.npy", kArray));
  const Tensor sentences = weights.get("text_tower.atlas", {means.shape[0] * means.shape[1], setup.width()});
  const Tensor text = model.text_rows(gather_rows(sentences, batch.places), batch.modalities);
  lines.push_back(compare_array("atlas: rows of texts", text, folder + "/text_features.npy", kArray));
  const Tensor logits = scale_by_exp(product_transposed(atlas, text), model.temperature());
  lines.push_back(compare_array("atlas: logits", logits, folder + "/logits.npy", 14.3 * kArray));
}

void compare_steps(const std::string& folder, const Setup& setup, std::vector<ParityLine>& lines) {
  const Json &atlas = setup.values["atlas"], &text = setup.values["text"];
  const std::vector<std::string> labels = setup.info["text_labels"].strings();
  const auto pairs = int64_t(labels.size());
  const AtlasBatch batch = recorded_batch(setup);
  const std::vector<int64_t> size = setup.info["image"].integers();
  const double rate = setup.info["optimizer"]["lr"].number();
  Optimiser optimiser = recorded_optimiser(setup.info["optimizer"]);

  Tape tape;
  const Weights weights = setup.weights();
  const SatConfig encoder = atlas_encoder_config(setup.info["backbone"].string(), {size[0], size[1], size[2]});
  const auto made = [&] {
    RecordOn recording(&tape);
    return KnowledgeModel(weights, setup.width(), encoder);
  };
  KnowledgeModel model = made();
  compare_towers(folder, setup, batch, weights, model, lines);
  const Tensor first = weights.get("text_tower.text1", {pairs, setup.width()});
  const Tensor second = weights.get("text_tower.text2", {pairs, setup.width()});

  Tensor atlas_loss;
  {
    RecordOn recording(&tape);
    const Tensor sentences = weights.get("text_tower.atlas", {batch.images.shape[0] * batch.count, setup.width()});
    atlas_loss = model.atlas_loss(gather_rows(sentences, batch.places), batch);
  }
  tape.run(atlas_loss);
  lines.push_back(relative("atlas: loss", value_of(atlas_loss), atlas["loss"]));
  optimiser.step(weights.parameters(), compare_gradients("atlas", tape, weights, atlas, lines), rate);
  model.clamp_temperature();
  compare_parameters("atlas", weights, atlas["after"], atlas["gradients"], rate, lines);

  KnowledgeModel::TextLoss loss;
  {
    RecordOn recording(&tape);
    loss = model.text_loss(first, second, labels);
  }
  tape.run(loss.total);
  lines.push_back(relative("text: loss", value_of(loss.total), text["loss"]));
  lines.push_back(relative("text: loss of sentences", value_of(loss.raw), text["raw"]));
  lines.push_back(relative("text: loss of projections", value_of(loss.projected), text["projected"]));
  const Tensor targets = text_targets(labels);
  double wrong = 0;
  for (int64_t row = 0; row < pairs; ++row) {
    const Tensor got = targets.select(row);
    wrong = std::max(
        wrong,
        compare_numbers("", {got.data<float>(), got.data<float>() + pairs}, text["targets"][size_t(row)], 0).error);
  }
  lines.push_back({"text: targets", wrong, 1e-7});
  optimiser.step(weights.parameters(), compare_gradients("text", tape, weights, text, lines), rate);
  model.clamp_temperature();
  compare_parameters("text", weights, text["after"], text["gradients"], rate, lines);
}

/// Stage 1 has no towers: the loss of sentences alone.
void compare_first_stage(const Setup& setup, std::vector<ParityLine>& lines) {
  const std::vector<std::string> labels = setup.info["text_labels"].strings();
  const auto pairs = int64_t(labels.size());
  Tape tape;
  const Weights weights = setup.weights();
  Tensor loss;
  {
    RecordOn recording(&tape);
    const KnowledgeModel model(weights, setup.width(), {});
    loss = model
               .text_loss(weights.get("text_tower.text1", {pairs, setup.width()}),
                          weights.get("text_tower.text2", {pairs, setup.width()}), labels)
               .total;
  }
  tape.run(loss);
  lines.push_back(relative("stage 1: loss", value_of(loss), setup.values["stage_1"]["loss"]));
  compare_gradients("stage 1", tape, weights, setup.values["stage_1"], lines);
}

/// A loss of rows, and its gradients with respect to the rows and to the factor e^t.
void compare_loss(const std::string& quantity, const std::vector<Tensor>& sides, double scale, const Json& want,
                  const std::function<Tensor(const Tensor&, const Tensor&, const Tensor&)>& loss_of,
                  std::vector<ParityLine>& lines) {
  Tape tape;
  Tensor u = sides[0], v = sides[1], t = full({1}, float(std::log(scale))), loss;
  for (Tensor* x : {&u, &v, &t}) Tape::watch(*x);
  {
    RecordOn recording(&tape);
    loss = loss_of(u, v, t);
  }
  tape.run(loss);
  lines.push_back(relative(quantity, value_of(loss), want["loss"]));
  double worst = 0;
  for (const auto& [key, x] : {std::pair{"u", &u}, {"v", &v}}) {
    const Tensor got = tape.gradient(*x);
    const std::vector<double> gradient = want[key].numbers();
    double squares = 0, off = 0;
    for (size_t i = 0; i < gradient.size(); ++i) {
      squares += gradient[i] * gradient[i];
      off = std::max(off, std::fabs(double(got.data<float>()[i]) - gradient[i]));
    }
    worst = std::max(worst, off / std::sqrt(squares));
  }
  const double by_scale = value_of(tape.gradient(t)) / scale;
  worst = std::max(worst, std::fabs(by_scale - want["scale"].number()) / std::fabs(want["scale"].number()));
  lines.push_back({quantity + ": gradients (of their norm)", worst, kAlone});
}

void compare_losses_alone(const Setup& setup, std::vector<ParityLine>& lines) {
  for (const Json& item : setup.values["loss_alone"].items()) {
    const std::vector<std::string> labels = item["labels"].strings();
    const int64_t rows = item["rows"].integer(), width = item["width"].integer();
    const std::string name = "losses of " + std::to_string(rows) + " rows: ";
    std::vector<Tensor> all, real;
    std::vector<int64_t> kept;
    std::vector<std::string> names;
    for (int64_t i = 0; i < rows; ++i) {
      if (labels[size_t(i)] == "none") continue;
      kept.push_back(i);
      names.push_back(labels[size_t(i)]);
    }
    for (const char* side : {"loss_u_", "loss_v_"}) {
      all.push_back(normalize_rows(field(setup.prefix + side + std::to_string(rows), {rows, width}, 1)));
      real.push_back(all.back());
    }
    const double scale = item["scale"].number();
    compare_loss(
        name + "text-atlas", real, scale, item["text_atlas"],
        [&](const Tensor& u, const Tensor& v, const Tensor& t) {
          return text_atlas_loss(gather_rows(u, kept), gather_rows(v, kept), label_numbers(names), t);
        },
        lines);
    compare_loss(
        name + "text-text", all, scale, item["text_text"],
        [&](const Tensor& u, const Tensor& v, const Tensor& t) {
          return text_text_loss(u, v, text_targets(labels), t);
        },
        lines);
  }
}

}  // namespace

std::vector<ParityLine> compare_contrastive_losses(const std::string& folder) {
  const Setup setup(folder);
  std::vector<ParityLine> lines;
  compare_losses_alone(setup, lines);
  compare_first_stage(setup, lines);
  return lines;
}

std::vector<ParityLine> compare_knowledge_training(const std::string& folder) {
  std::vector<ParityLine> lines = compare_contrastive_losses(folder);
  compare_steps(folder, Setup(folder), lines);
  return lines;
}

}  // namespace sat::test
