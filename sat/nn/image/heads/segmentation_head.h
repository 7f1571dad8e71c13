// Private. Heads that turn patch features of an encoder into maps of classes (rad-dino.md 10.2): a linear map, with or
// without batch norm, and UPerNet (upernet.h). Recognised by their tensors. Knows neither encoders nor pixels.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sat/tensor/ops.h"
#include "sat/tensor/weights.h"

namespace sat {

class SegmentationHead {
 public:
  virtual ~SegmentationHead() = default;

  virtual int64_t classes() const = 0;
  virtual int64_t width() const = 0;  // channels of all maps together
  virtual int64_t maps() const = 0;   // how many it takes; 0: as many as make up the width

  /// Maps of patches [B, h, w, C], each of its own block, earliest first, to [B, h', w', classes].
  virtual Tensor logits(const std::vector<Tensor>& maps) const = 0;
};

/// Sizes of a head; what its tensors do not say has the values of the published ones.
struct HeadConfig {
  enum class Kind : uint8_t { linear, linear_bn, upernet };
  Kind kind = Kind::linear;
  std::string name = "conv";         // of a linear head's layer (or conv_seg), of UPerNet's part behind the pyramid
  int64_t width = 768, classes = 1;  // channels of a map; of a linear head of all maps together
  int64_t channels = 0;              // of UPerNet's own maps
  bool pyramid = false;              // UPerNet: maps are brought to four scales first
  std::vector<int64_t> pool_scales;  // of UPerNet's pyramid pooling
};
const char* name_of(HeadConfig::Kind kind);  // "linear", "linear_bn", "upernet"

/// Where a head's tensors lie in a file, and its sizes. A linear head is `conv` (DINOv2: `conv_seg`), with `bn` before
/// it or not; UPerNet is `head` (transformers: `decode_head`), with `pyramid` or not. Pool scales are 1, 2, 3, 6 unless
/// given. Throws Error where there is no head.
struct HeadFound {
  HeadConfig config;
  Weights place;
};
HeadFound recognise_head(const Weights& w, const std::vector<int64_t>& pool_scales = {});

/// Throws Error for tensors that are missing, of another shape, or foreign to the head.
std::unique_ptr<const SegmentationHead> make_head(const HeadFound& found);

/// Blocks, from 1, whose maps a head takes unless its file says otherwise: for UPerNet a quarter, half, three quarters
/// and all of the depth; else the last ones. Throws Error, naming `source`, for an encoder of another width.
std::vector<int64_t> usual_blocks(const SegmentationHead& head, int64_t width, int64_t depth,
                                  const std::string& source);

/// Logits [B, h, w, classes] at another size, bilinearly and not aligned, as the published code brings them to the
/// size of the encoder's input.
Tensor resized(const Tensor& x, std::array<int64_t, 2> size);

}  // namespace sat
