// Which of the networks a config names.
#include "sat/nn/sat/backbones/backbone.h"

#include "sat/nn/sat/backbones/layer_plan.h"
#include "sat/nn/sat/backbones/swin/swin_unetr.h"
#include "sat/nn/sat/backbones/umamba.h"
#include "sat/nn/sat/backbones/unet3d.h"

namespace sat {

std::vector<BackboneLayer> backbone_layers(const SatConfig& config) {
  switch (config.backbone) {
    case BackboneKind::umamba: return umamba_layers(config);
    case BackboneKind::swin_unetr: return swin_unetr_layers(config);
    default: return unet3d_layers(config);
  }
}

std::shared_ptr<const Backbone> make_backbone(const Weights& backbone, const SatConfig& config) {
  switch (config.backbone) {
    case BackboneKind::umamba: return std::make_shared<UMamba>(backbone, config);
    case BackboneKind::swin_unetr: return std::make_shared<SwinUnetr>(backbone, config);
    default: return std::make_shared<UNet3d>(backbone, config);
  }
}

}  // namespace sat
