// The tiny encoder's tensors: whatever its constructor asks for, by the rule of rad-dino.md 12.3.
#include "tests/support/image/tiny_vit.h"

#include "sat/nn/image/heads/segmentation_head.h"
#include "tests/support/golden.h"
#include "tests/support/parity/recorded.h"

namespace sat::test {

namespace {

/// Weights made by a generator, which are kept as they are asked for.
Weights keeping(const Weights& generator, Tensors& kept, const std::string& prefix = "") {
  return Weights::made([generator, &kept, prefix](const std::string& name, const Shape& shape) {
    return kept[prefix + name] = generator.get(name, shape);
  });
}

}  // namespace

VitConfig tiny_vit_config() {
  VitConfig config;
  config.width = 48;
  config.depth = 2;
  config.heads = 3;
  config.hidden = 96;
  config.table = {4, 4};
  return config;
}

Tensors tiny_vit(VitNaming naming, const std::string& prefix, const VitConfig& config) {
  Tensors kept;
  const Vit vit(keeping(generated_vit(""), kept, prefix), config, naming);
  return kept;
}

Tensors tiny_head(const std::string& kind, int64_t classes) {
  HeadConfig config;
  config.kind = kind == "upernet" ? HeadConfig::Kind::upernet : HeadConfig::Kind::linear;
  config.name = kind == "upernet" ? "head" : "conv";
  config.width = tiny_vit_config().width;
  config.classes = classes;
  config.channels = 8;
  config.pyramid = true;
  config.pool_scales = {1, 2, 3, 6};
  Tensors kept;
  make_head({config, keeping(generated_downstream(""), kept)});
  return kept;
}

Tensors tiny_connector(int64_t out) {
  const int64_t width = tiny_vit_config().width;
  return {{"mm_projector.0.weight", field("mm0", {out, width}, 0.2)},
          {"mm_projector.0.bias", field("mm0b", {out}, 0.1)},
          {"mm_projector.2.weight", field("mm2", {out, out}, 0.2)},
          {"mm_projector.2.bias", field("mm2b", {out}, 0.1)}};
}

}  // namespace sat::test
