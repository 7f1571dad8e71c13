// Loading a fine-tuned network of the kind that a file holds, and asking it.
#include "sat/nn/image/ecamp/ecamp_model.h"

#include <variant>

#include "sat/nn/image/ecamp/classifier.h"
#include "sat/nn/image/ecamp/detection/detector.h"
#include "sat/nn/image/ecamp/ecamp_file.h"
#include "sat/nn/image/ecamp/segmenter.h"
#include "sat/nn/run/dry_run.h"
#include "sat/nn/run/plan.h"
#include "sat/tensor/memory/block_allocator.h"
#include "sat/tensor/memory/machine.h"
#include "sat/tensor/memory/memory.h"

namespace sat {

namespace {

constexpr const char* kNames[] = {"an encoder", "a pre-training checkpoint", "a classifier", "a segmentation network",
                                  "a detector"};

}  // namespace

const char* name_of(EcampKind kind) { return kNames[size_t(kind)]; }

EcampKind recognise_ecamp_file(const std::string& path) { return open_ecamp_file(path).kind; }

struct EcampModel::State {
  LoadOptions options;
  EcampKind kind = EcampKind::encoder;
  std::string identity, remark;
  std::variant<std::monostate, EcampClassifier, EcampSegmenter, EcampDetector> network;
  ModelBytes bytes;

  void load(const Context& context);
  template <class Network, class Config>
  void build(const Context& context, const EcampFile& file, const Config& config);

  template <class Network>
  const Network& as(EcampKind wanted) const {
    SAT_CHECK(kind == wanted, options.model, ": this is ", name_of(kind), ", ", name_of(wanted), " is needed");
    return std::get<Network>(network);
  }
  const EcampClassifier& classifier() const { return as<EcampClassifier>(EcampKind::classification); }
  const EcampSegmenter& segmenter() const { return as<EcampSegmenter>(EcampKind::segmentation); }
  const EcampDetector& detector() const { return as<EcampDetector>(EcampKind::detection); }
};

void EcampModel::State::load(const Context& context) {
  const EcampFile file = open_ecamp_file(options.model);
  kind = file.kind;
  identity = file.identity;
  remark = file.remark;
  const Weights& w = file.weights;
  switch (kind) {
    case EcampKind::encoder:
    case EcampKind::pretraining:
      fail(options.model, ": this is ", name_of(kind), " of ECAMP's, which tells no classes, masks or boxes");
    case EcampKind::classification: return build<EcampClassifier>(context, file, recognise_ecamp_classifier(w));
    case EcampKind::segmentation: return build<EcampSegmenter>(context, file, recognise_ecamp_segmenter(w));
    case EcampKind::detection: return build<EcampDetector>(context, file, recognise_ecamp_detector(w));
  }
}

template <class Network, class Config>
void EcampModel::State::build(const Context& context, const EcampFile& file, const Config& config) {
  bytes = dry_built([&] {
    return Network(Weights::made([](const std::string&, const Shape& shape) { return Tensor(shape); }), config);
  });
  make_room(options, bytes);
  network.emplace<Network>(file.weights, config);
  check_all_read(file.weights, kind);
  context.memory()->reset_peak();  // what only loading needed goes back to the system
}

std::shared_ptr<const EcampModel> EcampModel::open(const LoadOptions& options) {
  const ContextOptions loading = loading_context(options);
  auto state = std::make_unique<State>();
  state->options = options;
  Context context(loading);
  UseContext use(context);
  state->load(context);
  return std::shared_ptr<const EcampModel>(new EcampModel(std::move(state)));
}

EcampModel::EcampModel(std::unique_ptr<State> state) : state_(std::move(state)) {}
EcampModel::~EcampModel() = default;

const LoadOptions& EcampModel::options() const { return state_->options; }
EcampKind EcampModel::kind() const { return state_->kind; }
const std::string& EcampModel::identity() const { return state_->identity; }
const std::string& EcampModel::remark() const { return state_->remark; }

int64_t EcampModel::input_size() const {
  if (kind() == EcampKind::classification) return state_->classifier().encoder().height();
  if (kind() == EcampKind::segmentation) return state_->segmenter().encoder().height();
  return state_->detector().encoder().height();
}

int64_t EcampModel::classes() const {
  if (kind() == EcampKind::classification) return state_->classifier().classes();
  return state_->detector().config().classes;
}

std::vector<std::string> EcampModel::masks() const { return state_->segmenter().masks(); }

ContextOptions EcampModel::context_options() const { return running_context(state_->options, state_->bytes); }

Tensor EcampModel::classify(const Tensor& images) const { return to_host(state_->classifier()(images)); }
Tensor EcampModel::segment(const Tensor& images) const { return to_host(state_->segmenter()(images)); }

std::vector<std::vector<Detection>> EcampModel::detect(const Tensor& images, double confidence,
                                                       double most_overlap) const {
  return state_->detector().detect(images, confidence, most_overlap);
}

int64_t EcampModel::planned_bytes(int64_t batch) const {
  Context context(Context::current().dry_run());
  UseContext use(context);
  if (const auto device = context.planned_memory()) device->reserve(0);
  const Tensor images({batch, input_size(), input_size(), 3});
  if (kind() == EcampKind::classification) {
    classify(images);
  } else if (kind() == EcampKind::segmentation) {
    segment(images);
  } else {
    detect(images);
  }
  return context.memory()->peak_bytes() + state_->bytes.on_host;
}

}  // namespace sat
