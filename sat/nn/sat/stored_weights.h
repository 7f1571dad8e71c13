// Private: what files of models and of text encoders share: names without the wrappers that training put around the
// network, and values that fit the type they are written in.
#pragma once

#include <string>

#include "sat/tensor/weights.h"

namespace sat {

/// The name without the steps by which wrappers name the network inside them: `module` (DataParallel and its kind),
/// `_orig_mod` (torch.compile), `_fsdp_wrapped_module`, `_checkpoint_wrapped_module`, wherever they stand and however
/// often; and `model` (Lightning) at the start.
std::string without_wrappers(const std::string& name);
/// The same for a text encoder, where `model` at the start may be a step of its own: it goes where another name of a
/// text encoder follows.
std::string text_name_without_wrappers(const std::string& name);

/// A tensor of finite values as another type. Throws Error naming it where a value is beyond that type's range.
Tensor narrowed(const Tensor& tensor, DType dtype, const std::string& name, const std::string& source);

}  // namespace sat
