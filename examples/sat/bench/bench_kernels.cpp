// The other operations of tensor/ops.h that `sat bench` measures: norms, pooling, mask scores, and matrices at the
// sizes of the query decoder (243 tokens; 32 prompts, or all 497 labels of the published data).
#include <memory>

#include "examples/sat/bench/bench_case.h"
#include "sat/nn/run/windows.h"
#include "sat/tensor/ops.h"

namespace sat::cli {

namespace {

constexpr float kEps = 1e-5f;

double total(const std::vector<int64_t>& sizes) { return double(product_of(sizes)); }

BenchOperation layer_norm_operation() {
  BenchOperation op;
  op.name = "layer_norm";
  op.what = "layer norm of N rows";
  op.channel_names = {"C"};
  op.size_names = {"N"};
  op.cases = {{{768}, {497}}, {{768}, {32}}};
  op.work = [](const CaseSizes& sizes) -> Work { return {0, 4 * 2 * total(sizes.size) * total(sizes.channels)}; };
  op.inputs = [](const CaseSizes& sizes) -> Inputs {
    const int64_t channels = sizes.channels[0];
    return {{"x", random_normal({sizes.size[0], channels}, 1, 1)},
            {"gain", random_normal({channels}, 1, 2)},
            {"bias", random_normal({channels}, 0.1, 3)}};
  };
  const auto prepare = [](const CaseSizes&, const Inputs& inputs) -> Runner {
    return [x = to_compute_device(inputs.at("x")), gain = to_compute_device(inputs.at("gain")),
            bias = to_compute_device(inputs.at("bias"))] { layer_norm(x, gain, bias, kEps); };
  };
  op.variants = {simd_variant("simd", prepare), plain_variant(prepare)};
  return op;
}

BenchOperation linear_operation() {
  BenchOperation op;
  op.name = "linear";
  op.what = "dense layer of N rows";
  op.channel_names = {"IN", "OUT"};
  op.size_names = {"N"};
  op.cases = {{{768, 768}, {243}}, {{768, 2048}, {32}}, {{768, 2048}, {497}}};
  op.standard = 2;
  op.work = [](const CaseSizes& sizes) -> Work {
    const double in = double(sizes.channels[0]), out = double(sizes.channels[1]), rows = total(sizes.size);
    return {2 * rows * in * out, 4 * (rows * (in + out) + in * out)};
  };
  op.inputs = [](const CaseSizes& sizes) -> Inputs {
    const int64_t in = sizes.channels[0], out = sizes.channels[1];
    return {{"x", random_normal({sizes.size[0], in}, 1, 1)},
            {"weight", random_normal({out, in}, 0.03, 2)},
            {"bias", random_normal({out}, 0.1, 3)}};
  };
  const auto prepare = [](const CaseSizes&, const Inputs& inputs) -> Runner {
    const PackedMatrix weight = pack_linear(inputs.at("weight"));
    return [weight, x = to_compute_device(inputs.at("x")), bias = to_compute_device(inputs.at("bias"))] {
      linear(x, weight, bias);
    };
  };
  op.variants = {simd_variant("simd", prepare), plain_variant(prepare)};
  return op;
}

BenchOperation attention_operation() {
  BenchOperation op;
  op.name = "attention";
  op.what = "attention of N queries to T tokens, 8 heads, without the projections";
  op.channel_names = {"C"};
  op.size_names = {"N", "T"};
  op.cases = {{{768}, {32, 243}}, {{768}, {497, 243}}};
  op.work = [](const CaseSizes& sizes) -> Work {
    const double channels = total(sizes.channels), queries = double(sizes.size[0]), tokens = double(sizes.size[1]);
    return {4 * queries * tokens * channels, 4 * 2 * (queries + tokens) * channels};
  };
  op.inputs = [](const CaseSizes& sizes) -> Inputs {
    const int64_t channels = sizes.channels[0];
    return {{"q", random_normal({sizes.size[0], channels}, 1, 1)},
            {"k", random_normal({sizes.size[1], channels}, 1, 2)},
            {"v", random_normal({sizes.size[1], channels}, 1, 3)}};
  };
  op.refusal = [](const CaseSizes& sizes) {
    return sizes.channels[0] % kAttentionHeads == 0 ? "" : "a multiple of 8 channels, for 8 heads";
  };
  const auto prepare = [](const CaseSizes&, const Inputs& inputs) -> Runner {
    return [q = to_compute_device(inputs.at("q")), k = to_compute_device(inputs.at("k")),
            v = to_compute_device(inputs.at("v"))] { attention(q, k, v, kAttentionHeads); };
  };
  op.variants = {simd_variant("simd", prepare), plain_variant(prepare)};
  return op;
}

/// The largest power of two up to 32 that divides all sizes, as the stages of a U-Net are pooled for the tokens.
int64_t pooling(const std::vector<int64_t>& size) {
  int64_t k = 32;
  while (size[0] % k != 0 || size[1] % k != 0 || size[2] % k != 0) k /= 2;
  return k;
}

BenchOperation avg_pool3d_operation() {
  BenchOperation op;
  op.name = "avg_pool3d";
  op.what = "average pooling by 32, or less where the grid does not divide";
  op.channel_names = {"C"};
  op.size_names = {"H", "W", "D"};
  op.cases = {{{64}, {96, 96, 96}}};
  op.work = [](const CaseSizes& sizes) -> Work {
    const double k = double(pooling(sizes.size));
    return {0, 4 * total(sizes.size) * total(sizes.channels) * (1 + 1 / (k * k * k))};
  };
  op.inputs = [](const CaseSizes& sizes) -> Inputs {
    return {{"x", random_activations(volume_shape(sizes.size, sizes.channels[0]), 1)}};
  };
  op.variants = {{"plain", [](const CaseSizes& sizes, const Inputs& inputs) -> Runner {
                    return [k = pooling(sizes.size), x = inputs.at("x")] { avg_pool3d({x}, k); };
                  }}};
  return op;
}

BenchOperation mask_scores_operation() {
  BenchOperation op;
  op.name = "accumulate_mask_scores";
  op.what = "mask product of C features with N prompts, tanh and blending";
  op.channel_names = {"C", "N"};
  op.size_names = {"H", "W", "D"};
  op.cases = {{{64, 32}, {96, 96, 96}}, {{64, 497}, {24, 96, 96}}};
  op.standard = 2;
  op.work = [](const CaseSizes& sizes) -> Work {
    const double channels = double(sizes.channels[0]), prompts = double(sizes.channels[1]);
    const double voxels = total(sizes.size);
    return {2 * voxels * prompts * channels, 4 * (voxels * (channels + 2 * prompts + 1) + prompts * channels)};
  };
  op.inputs = [](const CaseSizes& sizes) -> Inputs {
    const int64_t channels = sizes.channels[0], prompts = sizes.channels[1];
    const auto& size = sizes.size;
    return {{"features", random_activations({1, size[0], size[1], size[2], channels}, 1)},
            {"masks", random_normal({prompts, channels}, 0.3, 2)},
            {"importance", importance_map({size[0], size[1], size[2]}, Rounding::f16)},
            {"scores", random_normal({size[0], size[1], size[2], prompts}, 1, 3)}};
  };
  op.refusal = [](const CaseSizes& sizes) {
    for (int64_t length : sizes.size) {
      if (length < 2) return "windows of at least 2 voxels an axis";
    }
    return "";
  };
  const auto prepare = [](const CaseSizes& sizes, const Inputs& inputs) -> Runner {
    ScoreRegion region;
    region.size = {sizes.size[0], sizes.size[1], sizes.size[2]};
    return [region, masks = to_compute_device(inputs.at("masks")), scores = to_compute_device(inputs.at("scores")),
            features = Features{to_compute_device(inputs.at("features").cast(feature_type()))},
            importance = to_compute_device(inputs.at("importance"))]() mutable {
      accumulate_mask_scores(scores, features, masks, importance, region);
    };
  };
  op.variants = {simd_variant("simd", prepare), plain_variant(prepare)};
  return op;
}

}  // namespace

std::vector<BenchOperation> bench_kernels() {
  return {avg_pool3d_operation(), mask_scores_operation(), linear_operation(), attention_operation(),
          layer_norm_operation()};
}

}  // namespace sat::cli
