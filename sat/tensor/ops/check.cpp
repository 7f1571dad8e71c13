// Checks that ops share.
#include "sat/tensor/ops/check.h"

#include "sat/tensor/memory/memory.h"

namespace sat {

Backend& backend_of(const char* op, std::initializer_list<const Tensor*> inputs) {
  const Tensor* first = nullptr;
  for (const Tensor* x : inputs) {
    if (x->empty()) continue;
    if (!first) first = x;
    SAT_CHECK(x->device == first->device, op, ": a tensor of shape ", x->shape, " lies on ", x->device,
              ", another of shape ", first->shape, " on ", first->device);
  }
  const Context& context = Context::current();
  const Device device = first ? first->device : Device(Device::cpu);
  SAT_CHECK(device == Device::cpu || device == context.compute_device(), op, ": tensors lie on ", device,
            ", the current context computes on ", context.compute_device());
  return context.backend(device);
}

Backend& packing_backend() {
  const Context& context = Context::current();
  return context.backend(context.compute_device());
}

void check_f32(const char* op, std::initializer_list<const Tensor*> inputs) {
  for (const Tensor* x : inputs) {
    SAT_CHECK(x->empty() || x->dtype == DType::f32, op, ": a tensor of shape ", x->shape, " is ", x->dtype,
              ", needs f32");
  }
}

void check_published(const char* op, std::initializer_list<const Tensor*> weights) {
  check_f32(op, weights);
  for (const Tensor* x : weights) {
    SAT_CHECK(x->empty() || on_host(*x), op, ": a weight of shape ", x->shape, " lies on ", x->device,
              ", needs the CPU's memory");
  }
}

void check_dropout(const char* op, const Dropout& dropped) {
  SAT_CHECK(dropped.rate >= 0 && dropped.rate < 1, op, ": a dropout rate of ", dropped.rate, ", needs [0, 1)");
}

void check_can_learn(const char* op, const Tensor& published) {
  SAT_CHECK(!published.empty(), op,
            ": a gradient cannot lead through a weight that was packed; build the layer in the context with the tape");
}

bool is_last_reference(const Tensor& x) { return x.buffer.use_count() == 1 && !x.buffer->foreign(); }

Backend& check_features(const char* op, const Features& x) {
  Backend& backend = backend_of(op, {&x.values, &x.center, &x.factor, &x.shift});
  SAT_CHECK(x.values.shape.rank() == 5 && backend.holds(x.values.dtype), op, ": features have shape ", x.values.shape,
            " and type ", x.values.dtype, ", need [B, H, W, D, C] in f32 or f16");
  const Shape want({x.values.shape[0], x.values.shape[4]});
  for (const Tensor* norm : {&x.center, &x.factor, &x.shift}) {
    SAT_CHECK(norm->empty() == x.center.empty() && (norm->empty() || norm->shape == want), op,
              ": the pending norm has shapes ", x.center.shape, ", ", x.factor.shape, ", ", x.shift.shape, ", needs ",
              want);
  }
  return backend;
}

}  // namespace sat
