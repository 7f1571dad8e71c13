// Dense layers, attention and table look-up: checks and allocation.
#include <algorithm>
#include <cstring>

#include "sat/tensor/accelerator.h"
#include "sat/tensor/cpu/kernels.h"
#include "sat/tensor/ops.h"
#include "sat/tensor/parallel.h"
#include "sat/tensor/profile.h"

namespace sat {

PackedMatrix pack_linear(const Tensor& weight) {
  SAT_CHECK(weight.shape.rank() == 2, "pack_linear: weight has shape ", weight.shape, ", needs [out, in]");
  if (Context::current().accelerator()) return accelerator().pack_linear(weight);
  PackedMatrix packed;
  packed.out = weight.shape[0];
  packed.in = weight.shape[1];
  const int64_t count = (packed.out + 15) / 16;
  packed.panels = Tensor({count, packed.in, 16});
  const float* from = weight.data<float>();
  float* to = packed.panels.data<float>();
  parallel_for(count, 1, [&](int64_t panel, int64_t) {
    for (int64_t i = 0; i < packed.in; ++i) {
      for (int64_t lane = 0; lane < 16; ++lane) {
        const int64_t o = panel * 16 + lane;
        to[(panel * packed.in + i) * 16 + lane] = o < packed.out ? from[o * packed.in + i] : 0.f;
      }
    }
  });
  return packed;
}

Tensor linear(const Tensor& x, const PackedMatrix& weight, const Tensor& bias, Activation act) {
  SAT_CHECK(x.shape.rank() >= 1 && x.shape[-1] == weight.in, "linear: x has shape ", x.shape, ", needs [..., ",
            weight.in, "]");
  SAT_CHECK(bias.empty() || bias.shape == Shape({weight.out}), "linear: bias has shape ", bias.shape, ", needs [",
            weight.out, "]");
  profile::Range range("linear", x.shape);
  Tensor y(x.shape.with(-1, weight.out), DType::f32, x.device);
  if (y.device == Device::cuda) {
    accelerator().linear(y, x, weight, bias, act);
    return y;
  }
  const int64_t rows = weight.in > 0 ? x.numel() / weight.in : 0;
  cpu::linear(y.data<float>(), x.data<float>(), weight.panels.data<float>(),
              bias.empty() ? nullptr : bias.data<float>(), rows, weight.in, weight.out, act);
  return y;
}

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads, const Tensor& bias) {
  SAT_CHECK(q.shape.rank() == 2 && k.shape.rank() == 2 && k.shape == v.shape && q.shape[1] == k.shape[1],
            "attention: q, k, v have shapes ", q.shape, ", ", k.shape, ", ", v.shape, ", need [N, C], [T, C], [T, C]");
  SAT_CHECK(heads > 0 && q.shape[1] % heads == 0, "attention: ", q.shape[1], " channels do not divide into ", heads,
            " heads");
  SAT_CHECK(k.shape[0] > 0, "attention: there are no keys");
  SAT_CHECK(bias.empty() || bias.shape == Shape({heads, q.shape[0], k.shape[0]}), "attention: bias has shape ",
            bias.shape, ", needs [", heads, ", ", q.shape[0], ", ", k.shape[0], "]");
  profile::Range range("attention", q.shape);
  Tensor y = empty_like(q);
  if (y.device == Device::cuda) {
    accelerator().attention(y, q, k, v, heads, bias);
    return y;
  }
  cpu::attention(y.data<float>(), q.data<float>(), k.data<float>(), v.data<float>(),
                 bias.empty() ? nullptr : bias.data<float>(), q.shape[0], k.shape[0], q.shape[1], heads);
  return y;
}

Tensor gather_rows(const Tensor& table, const Tensor& ids) {
  SAT_CHECK(table.shape.rank() == 2 && ids.shape.rank() == 1, "gather_rows: table ", table.shape, " and ids ",
            ids.shape, ", need [V, C] and [T]");
  const int64_t channels = table.shape[1];
  const int64_t* id_of = ids.data<int64_t>();
  for (int64_t t = 0; t < ids.shape[0] && !Context::current().dry(); ++t) {
    SAT_CHECK(id_of[t] >= 0 && id_of[t] < table.shape[0], "gather_rows: id ", id_of[t], " in a table of ",
              table.shape[0], " rows");
  }
  Tensor rows({ids.shape[0], channels}, DType::f32, table.device);
  if (rows.device == Device::cuda) {
    accelerator().gather_rows(rows, table, ids.to(Device::cuda));
    return rows;
  }
  for (int64_t t = 0; t < ids.shape[0]; ++t) {
    std::memcpy(rows.data<float>() + t * channels, table.data<float>() + id_of[t] * channels,
                size_t(channels) * sizeof(float));
  }
  return rows;
}

}  // namespace sat
