// What the gradients of SAT are made of, as `sat bench` measures it: the backend's words, at the sizes of a training
// step of SAT-Nano (96 x 96 x 96 voxels, 8 prompts) and of a vision transformer.
#include "examples/sat/bench/bench_case.h"
#include "sat/tensor/device/backend.h"
#include "sat/tensor/ops.h"

namespace sat::cli {

namespace {

Backend& backend() {
  const Context& context = Context::current();
  return context.backend(context.compute_device());
}

double voxels_of(const CaseSizes& sizes) { return double(product_of(sizes.size)); }
double products_of(const CaseSizes& sizes) { return voxels_of(sizes) * double(product_of(sizes.channels)); }

/// The norm that a convolution of random features leaves.
Features random_features(const std::vector<int64_t>& size, int64_t channels, uint64_t seed) {
  return instance_norm(random_normal(volume_shape(size, channels), 1, seed), {full({channels}, 1), zeros({channels})});
}

BenchOperation volume_operation(const std::string& name, const std::string& what) {
  BenchOperation op;
  op.name = name;
  op.what = what;
  op.channel_names = {"IN", "OUT"};
  op.size_names = {"H", "W", "D"};
  op.cases = {{{64, 64}, {96, 96, 96}}, {{128, 128}, {24, 24, 24}}, {{512, 512}, {6, 6, 6}}};
  op.work = [](const CaseSizes& sizes) -> Work {
    const double in = double(sizes.channels[0]), out = double(sizes.channels[1]);
    return {2 * 27 * products_of(sizes), 4 * (voxels_of(sizes) * (in + out) + 27 * in * out)};
  };
  op.inputs = [](const CaseSizes& sizes) -> Inputs {
    const int64_t in = sizes.channels[0], out = sizes.channels[1];
    return {{"x", random_activations(volume_shape(sizes.size, in), 1)},
            {"dy", random_normal(volume_shape(sizes.size, out), 1, 2)},
            {"weight", random_normal({out, in, 3, 3, 3}, 0.05, 3)}};
  };
  return op;
}

BenchOperation input_gradient_operation() {
  BenchOperation op = volume_operation("conv3d_input_gradient", "of a 3x3x3 convolution, with respect to its input");
  const auto prepare = [](const CaseSizes&, const Inputs& inputs) -> Runner {
    Tensor dx = empty_like(inputs.at("x"));
    return [dx, dy = inputs.at("dy"), weight = inputs.at("weight")]() mutable {
      backend().conv3d_input_gradient(dx, false, dy, weight, {}, 0);
    };
  };
  op.variants = {simd_variant("simd", prepare), plain_variant(prepare)};
  return op;
}

BenchOperation weight_gradient_operation() {
  BenchOperation op = volume_operation("conv3d_weight_gradient", "of a 3x3x3 convolution, with respect to its weight");
  const auto prepare = [](const CaseSizes&, const Inputs& inputs) -> Runner {
    Tensor dw = empty_like(inputs.at("weight"));
    return [dw, x = inputs.at("x"), dy = inputs.at("dy")]() mutable {
      backend().conv3d_weight_gradient(dw, Features{x}, dy, {}, 0);
    };
  };
  op.variants = {simd_variant("simd", prepare), plain_variant(prepare)};
  return op;
}

BenchOperation norm_gradient_operation() {
  BenchOperation op;
  op.name = "norm_gradient";
  op.what = "of an instance norm and leaky ReLU, in place";
  op.channel_names = {"C"};
  op.size_names = {"H", "W", "D"};
  op.cases = {{{64}, {96, 96, 96}}};
  op.work = [](const CaseSizes& sizes) -> Work { return {0, 4 * 5 * products_of(sizes)}; };  // two passes
  op.inputs = [](const CaseSizes& sizes) -> Inputs {
    return {{"d", random_normal(volume_shape(sizes.size, sizes.channels[0]), 1, 1)}};
  };
  const auto prepare = [](const CaseSizes& sizes, const Inputs& inputs) -> Runner {
    const int64_t channels = sizes.channels[0];
    const Features y = random_features(sizes.size, channels, 2);
    Tensor dgain({channels}), dbias({channels});
    return [=, d = inputs.at("d").clone()]() mutable {
      backend().norm_gradient(d, dgain, dbias, y, {full({channels}, 1), zeros({channels})});
    };
  };
  op.variants = {simd_variant("simd", prepare), plain_variant(prepare)};
  return op;
}

BenchOperation mask_loss_operation() {
  BenchOperation op;
  op.name = "mask_loss";
  op.what = "Dice and cross-entropy of N prompts on C features, forward and gradient; logits are made twice";
  op.channel_names = {"C", "N"};
  op.size_names = {"H", "W", "D"};
  op.cases = {{{64, 8}, {96, 96, 96}}, {{64, 32}, {96, 96, 96}}};
  op.standard = 2;
  op.work = [](const CaseSizes& sizes) -> Work {
    return {4 * 2 * products_of(sizes), 4 * 3 * voxels_of(sizes) * double(sizes.channels[0])};
  };
  op.inputs = [](const CaseSizes& sizes) -> Inputs {
    const int64_t channels = sizes.channels[0], prompts = sizes.channels[1];
    return {{"features", random_activations(volume_shape(sizes.size, channels), 1)},
            {"masks", random_normal({1, prompts, channels}, 0.3, 2)},
            {"factors", random_normal({1, prompts, 3}, 1, 3)}};
  };
  const auto prepare = [](const CaseSizes& sizes, const Inputs& inputs) -> Runner {
    const int64_t prompts = sizes.channels[1];
    Tensor bits = zeros(volume_shape(sizes.size, (prompts + 7) / 8), DType::u8);
    for (int64_t i = 0; i < bits.numel(); ++i) bits.data<uint8_t>()[i] = uint8_t(i * 37);
    Tensor dfeatures = empty_like(inputs.at("features")), dmasks = empty_like(inputs.at("masks"));
    return
        [=, x = Features{inputs.at("features")}, masks = inputs.at("masks"), factors = inputs.at("factors")]() mutable {
          backend().mask_sums(x, masks, bits);
          backend().mask_gradient(dfeatures, false, dmasks, x, masks, bits, factors);
        };
  };
  op.variants = {simd_variant("simd", prepare), plain_variant(prepare)};
  return op;
}

BenchOperation product_of_columns_operation() {
  BenchOperation op;
  op.name = "product_of_columns";
  op.what = "a^T b over N rows: the gradient of a dense layer's weight";
  op.channel_names = {"M", "K"};
  op.size_names = {"N"};
  op.cases = {{{64, 512}, {110592}}, {{768, 2048}, {32}}, {{768, 3072}, {1370}}};
  op.standard = 3;
  op.work = [](const CaseSizes& sizes) -> Work {
    const double m = double(sizes.channels[0]), k = double(sizes.channels[1]);
    return {2 * products_of(sizes), 4 * (voxels_of(sizes) * (m + k) + m * k)};
  };
  op.inputs = [](const CaseSizes& sizes) -> Inputs {
    return {{"a", random_normal({sizes.size[0], sizes.channels[0]}, 1, 1)},
            {"b", random_normal({sizes.size[0], sizes.channels[1]}, 1, 2)}};
  };
  const auto prepare = [](const CaseSizes& sizes, const Inputs& inputs) -> Runner {
    Tensor y({sizes.channels[0], sizes.channels[1]});
    return [y, a = inputs.at("a"), b = inputs.at("b")]() mutable { backend().product_of_columns(y, a, b); };
  };
  op.variants = {simd_variant("simd", prepare), plain_variant(prepare)};
  return op;
}

BenchOperation attention_gradient_operation() {
  BenchOperation op;
  op.name = "attention_gradient";
  op.what = "of attention of N queries to T tokens, 8 heads; the weights are made again";
  op.channel_names = {"C"};
  op.size_names = {"N", "T"};
  op.cases = {{{768}, {32, 243}}, {{768}, {1370, 1370}}};
  op.work = [](const CaseSizes& sizes) -> Work {
    const double channels = double(sizes.channels[0]), queries = double(sizes.size[0]), tokens = double(sizes.size[1]);
    return {5 * 2 * queries * tokens * channels, 4 * (3 * queries + 4 * tokens) * channels};
  };
  op.inputs = [](const CaseSizes& sizes) -> Inputs {
    const int64_t channels = sizes.channels[0];
    return {{"q", random_normal({sizes.size[0], channels}, 1, 1)},
            {"k", random_normal({sizes.size[1], channels}, 1, 2)},
            {"v", random_normal({sizes.size[1], channels}, 1, 3)},
            {"dy", random_normal({sizes.size[0], channels}, 1, 4)}};
  };
  op.refusal = [](const CaseSizes& sizes) {
    return sizes.channels[0] % kAttentionHeads == 0 ? "" : "a multiple of 8 channels, for 8 heads";
  };
  const auto prepare = [](const CaseSizes& sizes, const Inputs& inputs) -> Runner {
    Tensor dq = empty_like(inputs.at("q")), dk = empty_like(inputs.at("k")), dv = empty_like(dk), none;
    return [=, segments = equal_segments(1, sizes.size[0], sizes.size[1])]() mutable {
      backend().attention_gradient(dq, dk, dv, none, inputs.at("dy"), inputs.at("q"), inputs.at("k"), inputs.at("v"),
                                   kAttentionHeads, segments, {}, {});
    };
  };
  op.variants = {simd_variant("simd", prepare), plain_variant(prepare)};
  return op;
}

BenchOperation layer_norm_gradient_operation() {
  BenchOperation op;
  op.name = "layer_norm_gradient";
  op.what = "of a layer norm of N rows";
  op.channel_names = {"C"};
  op.size_names = {"N"};
  op.cases = {{{768}, {1370}}};
  op.work = [](const CaseSizes& sizes) -> Work { return {0, 4 * 3 * products_of(sizes)}; };
  op.inputs = [](const CaseSizes& sizes) -> Inputs {
    const int64_t channels = sizes.channels[0];
    return {{"x", random_normal({sizes.size[0], channels}, 1, 1)},
            {"dy", random_normal({sizes.size[0], channels}, 1, 2)},
            {"gain", random_normal({channels}, 1, 3)}};
  };
  const auto prepare = [](const CaseSizes&, const Inputs& inputs) -> Runner {
    Tensor dx = empty_like(inputs.at("x")), dgain = empty_like(inputs.at("gain")), dbias = empty_like(dgain);
    return [=]() mutable {
      backend().layer_norm_gradient(dx, dgain, dbias, inputs.at("dy"), inputs.at("x"), inputs.at("gain"), 1e-5f);
    };
  };
  op.variants = {simd_variant("simd", prepare), plain_variant(prepare)};
  return op;
}

}  // namespace

std::vector<BenchOperation> bench_gradients() {
  return {input_gradient_operation(),     weight_gradient_operation(),    norm_gradient_operation(),
          mask_loss_operation(),          product_of_columns_operation(), attention_gradient_operation(),
          layer_norm_gradient_operation()};
}

}  // namespace sat::cli
