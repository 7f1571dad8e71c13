// The connector's layers, under the names that they are published by.
#include "sat/nn/image/heads/connector.h"

namespace sat {

namespace {

Weights connector_place(const Weights& w) {
  for (const Weights& place : {w / "connector", w / "mm_projector", w / "model" / "mm_projector"}) {
    if (place.has_any()) return place;
  }
  fail(w.source(), ": no connector (it has neither connector.0.weight nor mm_projector.0.weight)");
}

}  // namespace

Connector::Connector(const Weights& w) {
  const Weights place = connector_place(w);
  const auto read = [&](const Weights& layer) {
    const Shape shape = layer.shape_of("weight");
    SAT_CHECK(shape.rank() == 2, w.source(), ": '", layer.prefix(), ".weight' has shape ", shape,
              ", a connector's layer has two sizes");
    SAT_CHECK(layers_.empty() || out() == shape[1], w.source(), ": '", layer.prefix(), ".weight' takes ", shape[1],
              " channels, the layer before it gives ", layers_.empty() ? 0 : out());
    layers_.emplace_back(layer, shape[1], shape[0]);
  };
  if (place.has("weight")) {
    read(place);
  } else {
    read(place / 0);
    for (int64_t i = 2; (place / i).has_any(); i += 2) read(place / i);
  }
  const std::vector<std::string> foreign = w.never_read();
  SAT_CHECK(foreign.empty(), w.source(), ": tensor '", foreign[0], "' does not belong to a connector");
}

Tensor Connector::operator()(const Tensor& tokens) const {
  Tensor x = tokens;
  for (size_t i = 0; i < layers_.size(); ++i) {
    x = layers_[i](x, i + 1 < layers_.size() ? Activation::gelu : Activation::none);
  }
  return x;
}

}  // namespace sat
