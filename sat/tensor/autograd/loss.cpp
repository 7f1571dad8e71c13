// Gradients of losses, and of means over masks.
#include "sat/tensor/autograd/gradients.h"
#include "sat/tensor/ops/check.h"

namespace sat {

Tape::Backward cross_entropy_gradient(const Tensor& logits, const Tensor& dlogits) {
  return [=](Tape& tape, const Tensor& dloss) {
    const Tensor column = dlogits.reshape({dlogits.numel(), 1});
    tape.add(logits, multiply(column, dloss.to(dlogits.device)));
  };
}

Tape::Backward masked_means_gradient(const Tensor& x, const Tensor& masks) {
  return [=](Tape& tape, const Tensor& dy) {
    tape.add_computed(x, [&](Tensor& dx, bool add) {
      backend_of("masked_means", {&dx, &dy, &masks}).masked_means_gradient(dx, add, dy, masks);
    });
  };
}

Tape::Backward mask_loss_gradient(const Features& features, const Tensor& masks, const MaskTargets& targets,
                                  const Tensor& factors) {
  return [=](Tape& tape, const Tensor& dtotal) {
    const Tensor scaled =
        multiply(factors.reshape({factors.numel(), 1}), dtotal.to(factors.device)).reshape(factors.shape);
    Tensor dmasks(masks.shape, DType::f32, masks.device);
    const auto compute = [&](Tensor& dfeatures, bool add) {
      backend_of("mask_loss", {&features.values, &masks})
          .mask_gradient(dfeatures, add, dmasks, features, masks, targets.bits, scaled);
    };
    if (features.values.history != 0) {
      tape.add_computed(features.values, compute);
    } else {
      Tensor unread;
      compute(unread, false);
    }
    tape.add(masks, std::move(dmasks));
  };
}

}  // namespace sat
