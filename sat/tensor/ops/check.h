// Private: what the bodies of the ops share.
#pragma once

#include <initializer_list>

#include "sat/tensor/autograd/gradients.h"
#include "sat/tensor/device/backend.h"
#include "sat/tensor/profile.h"

namespace sat {

/// The backend of the device that all of these lie on; empty tensors lie anywhere. Throws Error where two lie apart, or
/// on a device that the current context does not compute on.
Backend& backend_of(const char* op, std::initializer_list<const Tensor*> inputs);

/// The backend that packs weights: of the device that the current context computes on.
Backend& packing_backend();

/// Throws Error where `x` is no tensor of f32 elements.
void check_f32(const char* op, std::initializer_list<const Tensor*> inputs);
/// The same of published weights, which are packed from the CPU's memory.
void check_published(const char* op, std::initializer_list<const Tensor*> weights);

/// Throws Error where a rate is not in [0, 1).
void check_dropout(const char* op, const Dropout& dropped);

/// Throws Error where a weight has only its packed form, which no gradient leads through.
void check_can_learn(const char* op, const Tensor& published);

/// Whether nobody else reads these bytes, so that a result may lie over them.
bool is_last_reference(const Tensor& x);

/// Throws Error where features are not [B, H, W, D, C] in a type that their backend holds, with a whole norm or none.
Backend& check_features(const char* op, const Features& x);

}  // namespace sat
