// Loading an image model, and its forward passes from images to what callers ask for.
#include "sat/nn/image/image_model.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "sat/nn/image/heads/connector.h"
#include "sat/nn/image/heads/segmentation_head.h"
#include "sat/nn/image/image_file.h"
#include "sat/nn/run/dry_run.h"
#include "sat/tensor/memory/block_allocator.h"
#include "sat/tensor/memory/memory.h"

namespace sat {

namespace {

constexpr const char* kTokenNames[] = {"cls", "patches", "mean", "cls+mean", "all"};

/// Class tokens of a batch: [B, C].
Tensor class_rows(const VitRows& x) {
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < x.images; ++i) ids.push_back(i * x.tokens);
  return gather_rows(x.rows, ids);
}

/// Means of the patches: [B, C].
Tensor patch_means(const VitRows& x) {
  std::vector<int64_t> first;
  std::vector<uint8_t> counted;
  for (int64_t i = 0; i <= x.images; ++i) first.push_back(i * x.tokens);
  for (int64_t row = 0; row < x.images * x.tokens; ++row) counted.push_back(row % x.tokens >= x.special);
  return mean_of_rows(x.rows, first, counted);
}

/// Patches alone: [B, h * w, C].
Tensor patch_rows(const VitRows& x) {
  const int64_t C = x.rows.shape[1], patches = x.tokens - x.special;
  Tensor rows({x.images, patches, C}, DType::f32, x.rows.device);
  copy_rows(rows, 1, 0, reshape(x.rows, {x.images, x.tokens, C}), x.special, x.tokens);
  return rows;
}

Weights::Maker virtual_tensors() {
  return [](const std::string&, const Shape& shape) { return Tensor(shape); };
}

int64_t f32_bytes(const Weights& w) {
  int64_t bytes = 0;
  for (const Weights::Entry& entry : w.entries()) bytes += entry.shape.numel() * int64_t(sizeof(float));
  return bytes;
}

}  // namespace

const char* name_of(ImageTokens tokens) { return kTokenNames[size_t(tokens)]; }

ImageTokens parse_image_tokens(const std::string& name) {
  for (size_t i = 0; i < std::size(kTokenNames); ++i) {
    if (name == kTokenNames[i]) return ImageTokens(i);
  }
  fail("unknown tokens '", name, "'; they are one of cls, patches, mean, cls+mean, all");
}

struct ImageModel::State {
  ImageModelOptions options;
  std::string kind, identity, remark;
  PositionRule positions = PositionRule::size;
  int64_t input = 0;
  std::optional<Vit> vit;
  std::unique_ptr<const SegmentationHead> head;
  std::vector<int64_t> head_layers;
  std::optional<Connector> connector;
  ModelBytes bytes;

  void load(const Context& context);
  void plan(const ImageFile& file, const std::optional<HeadFound>& found, int64_t connector_bytes);
  std::vector<int64_t> checked_layers(const std::vector<int64_t>& layers) const;
  Tensor taken(const VitRows& x, const EncodeOptions& options) const;
  Tensor attention(const VitRows& x, const EncodeOptions& options) const;
  /// Maps of patches of some blocks, normed: [B, h, w, C] each.
  std::vector<Tensor> maps(const Tensor& images, const std::vector<int64_t>& layers) const;
  VitRows normed(const VitRows& x) const { return {vit->normed(x.rows), x.images, x.tokens, x.special, x.grid}; }
};

void ImageModel::State::load(const Context& context) {
  const ImageFile file = open_image_file(options.model, options.config);
  kind = file.kind;
  identity = file.identity;
  remark = file.remark;
  positions = file.positions;
  if (!options.interpolation.empty()) positions = parse_position_rule(options.interpolation);
  input = file.input;
  std::optional<HeadFound> found;
  Weights of_connector;
  if (!options.head.empty()) {
    const Checkpoint opened = open_checkpoint(options.head);
    found = recognise_head(opened.weights.finite(), options.pool_scales);
    if (remark.empty() && opened.metadata.count("generated") > 0) remark = "untrained weights";
  }
  if (!options.connector.empty()) {
    const Checkpoint opened = open_checkpoint(options.connector);
    of_connector = opened.weights.finite();
    if (remark.empty() && opened.metadata.count("generated") > 0) remark = "untrained weights";
  }
  plan(file, found, f32_bytes(of_connector));
  make_room(options, bytes);
  vit.emplace(file.weights, file.config, file.naming);
  if (found) {
    head = make_head(*found);
    const std::vector<int64_t> usual = usual_blocks(*head, file.config.width, file.config.depth, options.head);
    head_layers = options.head_layers.empty() ? usual : checked_layers(options.head_layers);
    SAT_CHECK(head_layers.size() == usual.size(), options.head, ": this head takes ", usual.size(),
              " layers of the encoder, ", head_layers.size(), " are given");
  }
  if (!options.connector.empty()) {
    connector.emplace(of_connector);
    SAT_CHECK(connector->width() == file.config.width, options.connector, ": this connector takes tokens of ",
              connector->width(), " channels, the encoder's have ", file.config.width);
  }
  context.memory()->reset_peak();  // what only loading needed goes back to the system
}

void ImageModel::State::plan(const ImageFile& file, const std::optional<HeadFound>& found, int64_t connector_bytes) {
  struct Built {
    Vit vit;
    std::unique_ptr<const SegmentationHead> head;
  };
  bytes = dry_built([&] {
    return Built{Vit(Weights::made(virtual_tensors()), file.config, file.naming),
                 found ? make_head({found->config, Weights::made(virtual_tensors())}) : nullptr};
  });
  bytes.loading += 2 * connector_bytes;  // as published, and packed
  (bytes.on_device > 0 ? bytes.on_device : bytes.on_host) += (bytes.on_device > 0 ? 2 : 1) * connector_bytes;
}

std::vector<int64_t> ImageModel::State::checked_layers(const std::vector<int64_t>& layers) const {
  const auto depth = int64_t(vit->blocks().size());
  if (layers.empty()) return {depth};
  for (size_t i = 0; i < layers.size(); ++i) {
    SAT_CHECK(layers[i] >= 1 && layers[i] <= depth, options.model, ": there is no layer ", layers[i],
              ", the model has 1 to ", depth);
    SAT_CHECK(i == 0 || layers[i - 1] < layers[i], "layers are given in ascending order, ", layers[i], " comes after ",
              layers[i - 1]);
  }
  return layers;
}

Tensor ImageModel::State::taken(const VitRows& x, const EncodeOptions& choice) const {
  if (choice.tokens == ImageTokens::cls || choice.tokens == ImageTokens::cls_mean) {
    const Tensor rows = class_rows(x);
    return choice.normed ? vit->normed(rows) : rows;
  }
  const VitRows rows = choice.normed ? normed(x) : x;
  if (choice.tokens == ImageTokens::mean) return patch_means(rows);
  if (choice.tokens == ImageTokens::patches) return patch_rows(rows);
  return reshape(rows.rows, {x.images, x.tokens, x.rows.shape[1]}).clone();
}

Tensor ImageModel::State::attention(const VitRows& x, const EncodeOptions& choice) const {
  const VitBlock& block = vit->blocks()[size_t(choice.attention - 1)];
  const int64_t heads = choice.head < 0 ? block.heads : 1;
  Tensor all({x.images, heads, x.tokens, x.tokens});
  for (int64_t i = 0; i < x.images; ++i) {
    Tensor one = block.attention_weights(slice(x.rows, i * x.tokens, (i + 1) * x.tokens));
    if (choice.head >= 0) one = slice(one, choice.head, choice.head + 1);
    copy_into(all, i, to_host(reshape(one, {1, heads, x.tokens, x.tokens})));
  }
  return all;
}

std::vector<Tensor> ImageModel::State::maps(const Tensor& images, const std::vector<int64_t>& layers) const {
  std::vector<Tensor> kept;
  (*vit)(images, positions, [&](int64_t after, const VitRows& x) {
    if (std::find(layers.begin(), layers.end(), after) == layers.end()) return;
    kept.push_back(reshape(patch_rows(normed(x)), {x.images, x.grid[0], x.grid[1], x.rows.shape[1]}));
  });
  return kept;
}

std::shared_ptr<const ImageModel> ImageModel::open(const ImageModelOptions& options) {
  const ContextOptions loading = loading_context(options);
  auto state = std::make_unique<State>();
  state->options = options;
  Context context(loading);
  UseContext use(context);
  state->load(context);
  return std::shared_ptr<const ImageModel>(new ImageModel(std::move(state)));
}

ImageModel::ImageModel(std::unique_ptr<State> state) : state_(std::move(state)) {}
ImageModel::~ImageModel() = default;

const ImageModelOptions& ImageModel::options() const { return state_->options; }
const std::string& ImageModel::kind() const { return state_->kind; }
const std::string& ImageModel::identity() const { return state_->identity; }
const std::string& ImageModel::remark() const { return state_->remark; }
int64_t ImageModel::width() const { return state_->vit->config().width; }
int64_t ImageModel::depth() const { return state_->vit->config().depth; }
int64_t ImageModel::heads() const { return state_->vit->config().heads; }
int64_t ImageModel::patch() const { return state_->vit->config().patch; }
int64_t ImageModel::special_tokens() const { return 1 + state_->vit->config().registers; }
const char* ImageModel::interpolation() const { return name_of(state_->positions); }
int64_t ImageModel::input_size() const { return state_->input; }
bool ImageModel::has_final_norm() const { return state_->vit->config().final_norm; }
int64_t ImageModel::weight_bytes() const { return state_->bytes.weights(); }
int64_t ImageModel::connector_width() const { return state_->connector ? state_->connector->out() : 0; }
int64_t ImageModel::classes() const { return state_->head ? state_->head->classes() : 0; }
const std::vector<int64_t>& ImageModel::head_layers() const { return state_->head_layers; }

ContextOptions ImageModel::context_options() const { return running_context(state_->options, state_->bytes); }

EncodedImages ImageModel::encode(const Tensor& images, const EncodeOptions& options) const {
  const std::vector<int64_t> layers = state_->checked_layers(options.layers);
  SAT_CHECK(options.attention >= 0 && options.attention <= depth(), state_->options.model, ": there is no layer ",
            options.attention, ", the model has 1 to ", depth());
  SAT_CHECK(options.head < heads(), state_->options.model, ": there is no head ", options.head, ", a layer has 0 to ",
            heads() - 1);
  EncodedImages encoded;
  std::vector<Tensor> parts;
  const VitRows last = (*state_->vit)(images, state_->positions, [&](int64_t after, const VitRows& x) {
    if (options.attention == after + 1) encoded.attention = state_->attention(x, options);
    if (std::find(layers.begin(), layers.end(), after) == layers.end()) return;
    parts.push_back(state_->taken(x, options));
    if (options.tokens == ImageTokens::cls_mean && after == layers.back()) {
      parts.push_back(patch_means(options.normed ? state_->normed(x) : x));
    }
  });
  encoded.features = to_host(parts.size() == 1 ? parts[0] : concat_channels(parts));
  encoded.grid = last.grid;
  encoded.special = last.special;
  return encoded;
}

Tensor ImageModel::connect(const Tensor& images) const {
  SAT_CHECK(state_->connector, state_->options.model, ": no connector was opened with this model");
  const Tensor map = state_->maps(images, {depth()})[0];
  const Tensor tokens = (*state_->connector)(map);
  return to_host(reshape(tokens, {tokens.shape[0], tokens.shape[1] * tokens.shape[2], tokens.shape[3]}));
}

Tensor ImageModel::segment(const Tensor& images) const {
  SAT_CHECK(state_->head, state_->options.model, ": no segmentation head was opened with this model");
  const Tensor logits = state_->head->logits(state_->maps(images, state_->head_layers));
  return to_host(resized(logits, {images.shape[1], images.shape[2]}));
}

int64_t ImageModel::planned_bytes(const Shape& images, const EncodeOptions* options) const {
  Context context(Context::current().dry_run());
  UseContext use(context);
  if (const auto device = context.planned_memory()) device->reserve(0);
  const Tensor batch(images);
  if (options) {
    encode(batch, *options);
  } else if (state_->connector) {
    connect(batch);
  } else {
    segment(batch);
  }
  return context.memory()->peak_bytes() + state_->bytes.on_host;
}

}  // namespace sat
