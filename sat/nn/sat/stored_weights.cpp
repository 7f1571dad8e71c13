// Names in files, and values for them.
#include "sat/nn/sat/stored_weights.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace sat {

namespace {

constexpr std::array<std::string_view, 4> kWrappers{"module", "_orig_mod", "_fsdp_wrapped_module",
                                                    "_checkpoint_wrapped_module"};
constexpr std::string_view kLightning = "model.";

bool starts_with(std::string_view text, std::string_view start) { return text.substr(0, start.size()) == start; }

/// The last step is a tensor's own name.
std::string without_wrapping_steps(const std::string& name) {
  std::string kept;
  for (size_t at = 0; at < name.size();) {
    const size_t end = std::min(name.find('.', at), name.size());
    const std::string step = name.substr(at, end - at);
    const bool wraps = end < name.size() && std::find(kWrappers.begin(), kWrappers.end(), step) != kWrappers.end();
    if (!wraps) kept += (kept.empty() ? "" : ".") + step;
    at = end + 1;
  }
  return kept;
}

}  // namespace

std::string without_wrappers(const std::string& name) {
  std::string kept = without_wrapping_steps(name);
  while (starts_with(kept, kLightning)) kept.erase(0, kLightning.size());
  return kept;
}

std::string text_name_without_wrappers(const std::string& name) {
  std::string kept = without_wrapping_steps(name);
  const auto belongs_inside = [&](std::string_view start) {
    return starts_with(std::string_view(kept).substr(kLightning.size()), start);
  };
  constexpr std::array<std::string_view, 4> kOwn{"model.", "text_tower.", "projection_layer.", "modality_embed."};
  while (starts_with(kept, kLightning) && std::any_of(kOwn.begin(), kOwn.end(), belongs_inside)) {
    kept.erase(0, kLightning.size());
  }
  return kept;
}

Tensor narrowed(const Tensor& tensor, DType dtype, const std::string& name, const std::string& source) {
  Tensor narrow = tensor.cast(dtype);
  const int64_t beyond = count_not_finite(narrow);
  SAT_CHECK(beyond == 0, source, ": tensor '", name, "' holds ", beyond, " of ", tensor.numel(),
            " values that are beyond the range of ", dtype);
  return narrow;
}

}  // namespace sat
