// Image encoders in hand: RAD-DINO and others of DINOv2's kind, ECAMP's; loaded from files, constant, and shared by
// whoever encodes. Takes prepared images (io/images/prepare.h) to features, attention, maps of classes and tokens for a
// language model.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sat/nn/load_options.h"
#include "sat/tensor/tensor.h"

namespace sat {

struct ImageModelOptions : LoadOptions {
  std::string config;                // its config.json; empty: the one beside it, if any
  std::string interpolation;         // of positions: "offset" or "size" (rad-dino.md 3); empty: the config decides
  std::string head;                  // a segmentation head for its patch features, or
  std::string connector;             // a connector of report generation; empty: none
  std::vector<int64_t> head_layers;  // blocks, from 1, whose maps the head takes; none: the usual ones
  std::vector<int64_t> pool_scales;  // of a UPerNet head; none: 1, 2, 3, 6
};

/// Which of an image's tokens its features are.
enum class ImageTokens : uint8_t {
  cls,       // the class token: [B, C]
  patches,   // all patches, row by row: [B, h * w, C]
  mean,      // the mean of the patches: [B, C]
  cls_mean,  // class tokens, and behind them the mean of the last block's patches: [B, C + C]
  all,       // class token, registers, patches: [B, T, C]
};
const char* name_of(ImageTokens tokens);                  // "cls", "patches", "mean", "cls+mean", "all"
ImageTokens parse_image_tokens(const std::string& name);  // throws Error naming the five

struct EncodeOptions {
  std::vector<int64_t> layers;            // blocks, from 1, whose outputs are joined channel by channel; none: the last
  ImageTokens tokens = ImageTokens::cls;  //
  bool normed = true;                     // by the model's last norm, whatever the block
  int64_t attention = 0;                  // the block whose attention is given too; 0: none
  int64_t head = -1;                      // of that attention; -1: all
};

struct EncodedImages {
  Tensor features;                // on the CPU; C is the width times the number of layers
  std::array<int64_t, 2> grid{};  // patches, rows and columns
  int64_t special = 1;            // tokens before the patches: class token and registers
  Tensor attention;               // [B, heads, T, T], row i the weights of token i's mean; or empty
};

/// Constant after loading: any number of callers encode with one model at the same time, each in a context of its own
/// that was made of context_options().
class ImageModel {
 public:
  /// Throws Error naming what is wrong with a file, or what does not fit; MemoryError where the limit would be passed.
  static std::shared_ptr<const ImageModel> open(const ImageModelOptions& options);
  ~ImageModel();
  ImageModel(const ImageModel&) = delete;
  ImageModel& operator=(const ImageModel&) = delete;

  const ImageModelOptions& options() const;
  const std::string& kind() const;      // "rad-dino", "ecamp"
  const std::string& identity() const;  // sha256
  const std::string& remark() const;    // what whoever reads results must know: "untrained weights"; mostly empty
  int64_t width() const;
  int64_t depth() const;
  int64_t heads() const;
  int64_t patch() const;
  int64_t special_tokens() const;     // class token and registers
  const char* interpolation() const;  // "offset", "size", "size antialiased"
  int64_t input_size() const;         // side of the square image that it was made for
  bool has_final_norm() const;        // ECAMP's fine-tuned encoders have none
  int64_t weight_bytes() const;       // where they lie: the CPU's memory, or the device's
  ContextOptions context_options() const;

  /// images [B, H, W, 3]. An image's results have the same bits whatever the others are. Throws Error for layers that
  /// the model does not have.
  EncodedImages encode(const Tensor& images, const EncodeOptions& options = {}) const;

  /// Patch tokens in the width of the connector's language model: [B, h * w, connector_width()].
  Tensor connect(const Tensor& images) const;
  int64_t connector_width() const;  // 0 without a connector

  /// Logits of the head at the size of the images: [B, H, W, classes()].
  Tensor segment(const Tensor& images) const;
  int64_t classes() const;                          // 0 without a head
  const std::vector<int64_t>& head_layers() const;  // as chosen

  /// The most bytes of the CPU's memory that a call holds at a time, weights included, learnt by a dry run in the
  /// current context: of encode(), of connect() where `options` is null and there is a connector, else of segment().
  int64_t planned_bytes(const Shape& images, const EncodeOptions* options) const;

 private:
  struct State;
  explicit ImageModel(std::unique_ptr<State> state);
  std::unique_ptr<const State> state_;
};

}  // namespace sat
