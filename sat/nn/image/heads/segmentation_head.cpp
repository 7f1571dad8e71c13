// The linear heads, and which head a file holds.
#include "sat/nn/image/heads/segmentation_head.h"

#include <numeric>

#include "sat/nn/image/conv_layers.h"
#include "sat/nn/image/heads/upernet.h"
#include "sat/nn/layers.h"

namespace sat {

namespace {

/// A convolution of one pixel, which is a dense layer of each pixel's channels.
Linear read_pixelwise(const Weights& w, int64_t in, int64_t out) {
  return Linear(reshape(w.get("weight", {out, in, 1, 1}), {out, in}), w.get("bias", {out}));
}

constexpr const char* kLinearNames[] = {"conv", "conv_seg", "classifier"};

class LinearHead : public SegmentationHead {
 public:
  LinearHead(const Weights& w, const HeadConfig& config) : config_(config) {
    if (config.kind == HeadConfig::Kind::linear_bn) norm_ = BatchNorm(w / "bn", config.width);
    classifier_ = read_pixelwise(w / config.name, config.width, config.classes);
  }

  int64_t classes() const override { return config_.classes; }
  int64_t width() const override { return config_.width; }
  int64_t maps() const override { return 0; }

  Tensor logits(const std::vector<Tensor>& maps) const override {
    Tensor x = maps.size() == 1 ? maps[0] : concat_channels(maps);
    if (config_.kind == HeadConfig::Kind::linear_bn) x = norm_(std::move(x));
    return classifier_(x);
  }

 private:
  HeadConfig config_;
  BatchNorm norm_;
  Linear classifier_;
};

bool fill_linear(HeadConfig& config, const Weights& w) {
  for (const char* name : kLinearNames) {
    if (!(w / name).has("weight")) continue;
    const Shape shape = (w / name).shape_of("weight");
    SAT_CHECK(shape.rank() == 4 && shape[2] == 1 && shape[3] == 1, w.source(), ": '", (w / name).prefix(),
              ".weight' has shape ", shape, ", a linear head has [classes, channels, 1, 1]");
    config.kind = (w / "bn").has("running_mean") ? HeadConfig::Kind::linear_bn : HeadConfig::Kind::linear;
    config.name = name;
    config.classes = shape[0];
    config.width = shape[1];
    return true;
  }
  return false;
}

bool fill_upernet(HeadConfig& config, const Weights& w, const char* name, const std::vector<int64_t>& pool_scales) {
  const Weights head = w / name;
  if (!(head / "psp_modules").has_any()) return false;
  const Weights classifier = head / "classifier", lateral = head / "lateral_convs" / 0 / "conv";
  SAT_CHECK(classifier.has("weight") && lateral.has("weight"), w.source(), ": a UPerNet without '", classifier.prefix(),
            ".weight' or '", lateral.prefix(), ".weight'");
  const Shape out = classifier.shape_of("weight"), in = lateral.shape_of("weight");
  SAT_CHECK(out.rank() == 4 && in.rank() == 4, w.source(), ": a UPerNet whose convolutions have shapes ", out, " and ",
            in, ", not four sizes each");
  int64_t scales = 0;
  while ((head / "psp_modules" / scales).has_any()) ++scales;
  config.kind = HeadConfig::Kind::upernet;
  config.name = name;
  config.classes = out[0];
  config.channels = out[1];
  config.width = in[1];
  config.pyramid = (w / "pyramid").has_any();
  config.pool_scales = pool_scales.empty() ? std::vector<int64_t>{1, 2, 3, 6} : pool_scales;
  SAT_CHECK(int64_t(config.pool_scales.size()) == scales, w.source(), ": a UPerNet that pools at ", scales,
            " scales, but ", config.pool_scales.size(), " are given");
  return true;
}

}  // namespace

const char* name_of(HeadConfig::Kind kind) {
  constexpr const char* kNames[] = {"linear", "linear_bn", "upernet"};
  return kNames[size_t(kind)];
}

HeadFound recognise_head(const Weights& w, const std::vector<int64_t>& pool_scales) {
  HeadFound found{{}, w};
  for (const char* name : {"head", "decode_head"}) {
    if (fill_upernet(found.config, w, name, pool_scales)) return found;
  }
  for (const Weights& place : {w, w / "head", w / "decode_head"}) {
    found.place = place;
    if (fill_linear(found.config, place)) return found;
  }
  fail(w.source(),
       ": no segmentation head (it has neither conv.weight or conv_seg.weight, of a linear one, nor "
       "head.psp_modules, of UPerNet)");
}

std::unique_ptr<const SegmentationHead> make_head(const HeadFound& found) {
  std::unique_ptr<const SegmentationHead> head;
  if (found.config.kind == HeadConfig::Kind::upernet) {
    head = std::make_unique<UperNet>(found.place, found.config);
  } else {
    head = std::make_unique<LinearHead>(found.place, found.config);
  }
  (found.place / "auxiliary_head").ignore_all();
  const std::vector<std::string> foreign = found.place.never_read();
  SAT_CHECK(foreign.empty(), found.place.source(), ": tensor '", foreign[0], "' does not belong to a segmentation head",
            foreign.size() > 1 ? " (nor do " + std::to_string(foreign.size() - 1) + " more)" : "");
  return head;
}

std::vector<int64_t> usual_blocks(const SegmentationHead& head, int64_t width, int64_t depth,
                                  const std::string& source) {
  const int64_t count = head.maps() > 0 ? head.maps() : head.width() / width;
  SAT_CHECK(count > 0 && head.width() == count * width, source, ": this head takes features of ",
            head.width() / std::max<int64_t>(1, head.maps()), " channels, the encoder's have ", width);
  SAT_CHECK(count <= depth, source, ": this head takes the features of ", count, " blocks, the encoder has ", depth);
  std::vector<int64_t> blocks;
  for (int64_t i = 1; i <= count; ++i) blocks.push_back(head.maps() > 0 ? depth * i / count : depth - count + i);
  return blocks;
}

Tensor resized(const Tensor& x, std::array<int64_t, 2> size) {
  if (x.shape[1] == size[0] && x.shape[2] == size[1]) return x;
  return resample2d(x, linear_taps(x.shape[1], size[0]), linear_taps(x.shape[2], size[1]));
}

}  // namespace sat
