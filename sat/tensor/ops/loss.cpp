// Losses and their pieces, and means over masks.
#include <array>

#include "sat/tensor/ops/check.h"

namespace sat {

namespace {

constexpr double kDiceSmooth = 1e-7, kCountedSmooth = 1e-14;

}  // namespace

Tensor scale_by_exp(const Tensor& x, const Tensor& t) {
  SAT_CHECK(t.numel() == 1, "scale_by_exp: t has shape ", t.shape, ", needs one element");
  check_f32("scale_by_exp", {&x, &t});
  Backend& backend = backend_of("scale_by_exp", {&x, &t});
  profile::Range range("scale_by_exp", x.shape);
  Tensor y = empty_like(x);
  backend.scale_by_exp(y, x, t);
  if (Tape* tape = following({&x, &t})) tape->record("scale_by_exp", y, scale_by_exp_gradient(x, t));
  return y;
}

Tensor cross_entropy(const Tensor& logits, const Tensor& targets, const Tensor& weights, const Tensor& excluded) {
  SAT_CHECK(logits.shape.rank() == 2 && targets.shape == logits.shape && weights.shape == Shape({logits.shape[0]}),
            "cross_entropy: logits, targets, weights have shapes ", logits.shape, ", ", targets.shape, ", ",
            weights.shape, ", need [R, K], [R, K], [R]");
  SAT_CHECK(excluded.empty() || (excluded.dtype == DType::u8 && excluded.shape == logits.shape),
            "cross_entropy: excluded classes are ", excluded.dtype, " ", excluded.shape, ", need u8 ", logits.shape);
  check_f32("cross_entropy", {&logits, &targets, &weights});
  refuse_history("cross_entropy of targets", {&targets, &weights});
  Backend& backend = backend_of("cross_entropy", {&logits, &targets, &weights, &excluded});
  profile::Range range("cross_entropy", logits.shape);
  Tape* tape = following({&logits});
  Tensor loss({1}, DType::f32, logits.device), dlogits;
  if (tape) dlogits = empty_like(logits);
  backend.cross_entropy(loss, dlogits, logits, targets, weights, excluded);
  if (tape) tape->record("cross_entropy", loss, cross_entropy_gradient(logits, dlogits));
  return loss;
}

Tensor masked_means(const Features& x, const Tensor& masks, int64_t count) {
  const Shape& grid = x.values.shape;
  check_features("masked_means", x);
  SAT_CHECK(count > 0 && masks.dtype == DType::u8 && masks.shape == grid.with(4, (count + 7) / 8),
            "masked_means: ", count, " masks are ", masks.dtype, " ", masks.shape, ", need u8 ",
            grid.with(4, (count + 7) / 8));
  Backend& backend = backend_of("masked_means", {&x.values, &masks});
  profile::Range range("masked_means", grid);
  Tensor y({grid[0], count, grid[4]}, DType::f32, x.values.device);
  backend.masked_means(y, x, masks);
  if (Tape* tape = following({&x.values})) tape->record("masked_means", y, masked_means_gradient(x.values, masks));
  return y;
}

MaskLoss mask_loss(const Features& features, const Tensor& masks, const MaskTargets& targets, float weight) {
  const Shape& grid = features.values.shape;
  SAT_CHECK(grid.rank() == 5 && masks.shape.rank() == 3 && masks.shape[0] == grid[0] && masks.shape[2] == grid[4],
            "mask_loss: features ", grid, " and masks ", masks.shape, ", need [B, H, W, D, C] and [B, N, C]");
  const int64_t batch = grid[0], prompts = masks.shape[1], voxels = grid[1] * grid[2] * grid[3];
  SAT_CHECK(targets.bits.dtype == DType::u8 && targets.bits.shape == grid.with(4, (prompts + 7) / 8),
            "mask_loss: targets are ", targets.bits.dtype, " ", targets.bits.shape, ", need u8 ",
            grid.with(4, (prompts + 7) / 8));
  SAT_CHECK(targets.counted.shape == Shape({batch, prompts}) && on_host(targets.counted), "mask_loss: counted prompts ",
            targets.counted.shape, " on ", targets.counted.device, ", need [", batch, ", ", prompts, "] on the CPU");
  check_features("mask_loss", features);
  check_f32("mask_loss", {&masks, &targets.counted});
  Backend& backend = backend_of("mask_loss", {&features.values, &masks, &targets.bits});
  profile::Range range("mask_loss", grid);
  const std::vector<std::array<double, 4>> sums = backend.mask_sums(features, masks, targets.bits);

  MaskLoss loss{Tensor({1}), Tensor({batch, prompts}), Tensor({batch, prompts})};
  Tensor factors({batch, prompts, 3});
  if (!Context::current().dry()) {
    const float* counted = targets.counted.data<float>();
    double count = kCountedSmooth, total = 0;
    for (int64_t i = 0; i < batch * prompts; ++i) count += double(counted[i]);
    for (int64_t i = 0; i < batch * prompts; ++i) {
      const auto [overlap, squares, wanted, entropy] = sums[size_t(i)];
      const double below = squares + wanted + kDiceSmooth, above = 2 * overlap + kDiceSmooth;
      const double dice = 1 - above / below, bce = entropy / double(voxels);
      const double share = double(weight) * double(counted[i]) / count;
      total += share * (dice + bce);
      loss.dice.data<float>()[i] = float(dice);
      loss.bce.data<float>()[i] = float(bce);
      float* factor = factors.data<float>() + 3 * i;
      factor[0] = float(-2 * share / below);
      factor[1] = float(2 * share * above / (below * below));
      factor[2] = float(share / double(voxels));
    }
    loss.total.data<float>()[0] = float(total);
  }
  if (Tape* tape = following({&features.values, &masks})) {
    tape->record("mask_loss", loss.total, mask_loss_gradient(features, masks, targets, to_compute_device(factors)));
  }
  return loss;
}

}  // namespace sat
