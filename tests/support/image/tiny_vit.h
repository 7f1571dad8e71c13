// A vision transformer of two blocks with generated weights, for tests of everything around the encoder.
#pragma once

#include <map>
#include <string>

#include "sat/nn/image/vit.h"

namespace sat::test {

using Tensors = std::map<std::string, Tensor>;

/// Width 48, two blocks, three heads, patches of 14 pixels, a table of 4 x 4: made for images of 56 x 56.
VitConfig tiny_vit_config();
/// Its tensors under a naming, all names behind `prefix`.
Tensors tiny_vit(VitNaming naming = VitNaming::hugging_face, const std::string& prefix = "",
                 const VitConfig& config = tiny_vit_config());
/// A UPerNet head (`kind` "upernet") or a linear one ("linear") of `classes` for its features.
Tensors tiny_head(const std::string& kind, int64_t classes);
/// A connector of two layers from its width to `out` channels.
Tensors tiny_connector(int64_t out);

}  // namespace sat::test
