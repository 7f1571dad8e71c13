// The up-sampling decoders on the map of patches.
#include "sat/nn/image/ecamp/segmenter.h"

#include "sat/nn/image/ecamp/ecamp_config.h"

namespace sat {

namespace {

/// Stages are published as decoder_1, decoder_2 ...: convolution 0, batch norm 1.
Weights stage_place(const Weights& decoder, int64_t stage) {
  return decoder / ("decoder_" + std::to_string(stage + 1));
}

}  // namespace

EcampSegmenterConfig recognise_ecamp_segmenter(const Weights& w) {
  EcampSegmenterConfig config;
  config.encoder = recognise_ecamp_encoder(w / "encoder");
  if ((w / "decoder_disc").has_any() || (w / "decoder_cup").has_any()) {
    config.decoders = {"decoder_disc", "decoder_cup"};
  }
  config.channels.clear();
  int64_t pixels = 1;
  const Weights decoder = w / config.decoders[0];
  for (int64_t stage = 0; (stage_place(decoder, stage) / 0).has("weight"); ++stage) {
    const Shape kernel = (stage_place(decoder, stage) / 0).shape_of("weight");
    SAT_CHECK(kernel.rank() == 4, w.source(), ": tensor '", (stage_place(decoder, stage) / 0).prefix(),
              ".weight' has shape ", kernel, ", needs four axes");
    config.channels.push_back(kernel[0]);
    pixels = std::min<int64_t>(2 * pixels, int64_t(1) << 20);
  }
  SAT_CHECK(pixels == config.encoder.patch, w.source(), ": a decoder of ", config.channels.size(),
            " doublings for patches of ", config.encoder.patch, " x ", config.encoder.patch, " pixels");
  return config;
}

UpsamplingDecoder::UpsamplingDecoder(const Weights& w, int64_t in, const std::vector<int64_t>& channels) {
  for (size_t stage = 0; stage < channels.size(); ++stage) {
    const Weights place = stage_place(w, int64_t(stage));
    convs_.emplace_back(place / 0, Conv2dSizes{in, channels[stage], 3, 1, 1});
    norms_.emplace_back(place / 1, channels[stage]);
    in = channels[stage];
  }
  out_ = Conv2d(w / "final_out", {in, 1, 3, 1, 1});
}

Tensor UpsamplingDecoder::operator()(Tensor x) const {
  for (size_t stage = 0; stage < convs_.size(); ++stage) {
    x = norms_[stage](convs_[stage](x), 0);
    const int64_t h = x.shape[1], w = x.shape[2];
    x = resample2d(x, linear_taps(h, 2 * h, true), linear_taps(w, 2 * w, true));
  }
  return out_(x);
}

EcampSegmenter::EcampSegmenter(const Weights& w, const EcampSegmenterConfig& config)
    : config_(config),
      encoder_(w / "encoder", config.encoder),
      head_(w / "encoder" / "seg_head", config.encoder.width, config.encoder.width) {
  for (const std::string& name : config.decoders) {
    decoders_.emplace_back(w / name, config.encoder.width, config.channels);
  }
}

std::vector<std::string> EcampSegmenter::masks() const {
  if (config_.decoders.size() == 1) return {"mask"};
  return {"disc", "cup"};
}

Tensor EcampSegmenter::logits(const Tensor& patch_map) const {
  std::vector<Tensor> masks;
  for (const UpsamplingDecoder& decoder : decoders_) masks.push_back(decoder(patch_map));
  return masks.size() == 1 ? masks[0] : concat_channels(masks);
}

}  // namespace sat
