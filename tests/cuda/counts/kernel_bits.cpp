// The bits of results of device kernels, called by themselves, at small, awkward sizes.
#include "tests/cuda/counts/kernel_runs.h"

namespace sat::test {

using namespace cuda;

namespace {

/// One line a case; everything it takes lives until the line is made.
class Bits {
 public:
  explicit Bits(const Stream& stream) : stream_(stream) {}

  float* in(int64_t count, double scale = 1) {
    owned_.push_back(made_up(DType::f32, count, seed_++, scale));
    return reinterpret_cast<float*>(owned_.back()->data());
  }
  /// A result: what is in it at first is made up too, so that a kernel may add to it.
  template <class T = float>
  T* out(int64_t count) {
    results_.push_back(made_up(DType::f32, divide_up(count * int64_t(sizeof(T)), 4), seed_++));
    return reinterpret_cast<T*>(results_.back()->data());
  }
  ConvInput input(DType dtype, int64_t voxels, int64_t channels) {
    ConvInput x;
    owned_.push_back(made_up(dtype, voxels * channels, seed_++));
    x.values = owned_.back()->data();
    x.dtype = dtype;
    x.channels = channels;
    x.norm = made_up_norm(channels, seed_++, owned_);
    return x;
  }
  const void* half(DType dtype, int64_t count) {
    owned_.push_back(made_up(dtype, count, seed_++, 0.05));
    return owned_.back()->data();
  }
  const Stream& stream() const { return stream_; }

  void end(const std::string& name) {
    Hash hash;
    for (const auto& result : results_) hash.add(*result);
    lines.push_back(name + " " + hash.text());
    owned_.clear();
    results_.clear();
  }

  std::vector<std::string> lines;

 private:
  Stream stream_;
  uint64_t seed_ = 100;
  std::vector<std::shared_ptr<DeviceBytes>> owned_, results_;
};

void convolutions(Bits& bits) {
  const std::vector<ConvSetup> setups = {
      {ConvVariant::plain, DType::f16, {5, 17, 9}, 64, 0, 64, 1},
      {ConvVariant::plain, DType::f16, {5, 9, 7}, 24, 8, 48, 1},
      {ConvVariant::plain, DType::f16, {6, 17, 5}, 32, 0, 64, 2},
      {ConvVariant::plain, DType::f16, {3, 4, 2}, 256, 0, 128, 1},
  };
  for (ConvVariant variant : {ConvVariant::plain, ConvVariant::tiled, ConvVariant::mma, ConvVariant::wgmma}) {
    for (DType dtype : {DType::f32, DType::f16, DType::bf16}) {
      for (ConvSetup setup : setups) {
        setup.variant = variant;
        setup.dtype = dtype;
        const std::string name = std::string("conv3d/") + name_of(variant) + "/" + name_of(dtype) + "/" +
                                 std::to_string(setup.in0 + setup.in1) + "-" + std::to_string(setup.out) +
                                 (setup.stride == 2 ? "-stride2" : "");
        const ConvRun run(setup, bits.stream());
        if (!run.refusal().empty()) {
          bits.lines.push_back(name + " refused");
          continue;
        }
        run.run();
        Hash hash;
        run.add_to(hash);
        bits.lines.push_back(name + " " + hash.text());
      }
    }
  }
}

void volumes(Bits& bits) {
  const Stream& stream = bits.stream();
  for (DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    const std::string type = std::string("/") + name_of(dtype);
    ConvTranspose up;
    up.in_size = {3, 5, 6};
    up.input = bits.input(dtype, 90, 48);
    up.weights = dtype == DType::f32 ? bits.in(48 * 8 * 24, 0.05) : bits.half(dtype, 8 * 24 * 48);
    up.bias = bits.in(24);
    up.out = 24;
    up.last = 3;
    up.values = bits.out<uint8_t>(90 * 8 * 24 * (dtype == DType::f32 ? 4 : 2));
    conv_transpose3d(stream, up);
    bits.end("conv_transpose3d" + type);

    ScoreSizes sizes{{5, 7, 9}, {5, 7, 9}, {5, 7, 9}, 64, 33};
    ScoreRegion region;
    region.in_features = {1, 0, 2};
    region.size = {4, 7, 7};
    const ConvInput features = bits.input(dtype, 315, 64);
    const float* masks = bits.in(33 * 64);
    accumulate_mask_scores(stream, bits.out(315 * 33), features, masks, bits.in(315), sizes, region);
    mask_bits(stream, bits.out<uint32_t>(33 * 10), features, masks, 315, 33);
    bits.end("mask_head" + type);
  }
  std::vector<PartialMoments> counted(70 * 48, PartialMoments{16, 0.25f, 9});
  for (size_t i = 0; i < counted.size(); ++i) counted[i].mean += 0.01f * float(i % 97);
  const DeviceArray<PartialMoments> partials(counted);
  int* error_flag = bits.out<int>(1);
  check(cudaMemset(error_flag, 0, sizeof(int)), "cudaMemset");
  pending_norm(stream, {bits.out(48), bits.out(48), bits.out(48), bits.out(48)}, partials.data(), 70, 48, bits.in(48),
               bits.in(48), 1e-5f, true, error_flag);
  bits.end("pending_norm");
}

void tokens(Bits& bits) {
  const Stream& stream = bits.stream();
  for (AttentionVariant variant : {AttentionVariant::plain, AttentionVariant::tiled, AttentionVariant::fused}) {
    for (DType products : {DType::f32, DType::f16, DType::bf16}) {
      for (int64_t width : {64, 96}) {
        const std::string name =
            std::string("attention/") + name_of(variant) + "/" + name_of(products) + "/" + std::to_string(width);
        Attention a{};
        a.queries = 33;
        a.tokens = 243;
        a.heads = 3;
        a.channels = a.heads * width;
        a.products = products;
        a.q = bits.in(a.queries * a.channels);
        a.k = bits.in(a.tokens * a.channels);
        a.v = bits.in(a.tokens * a.channels);
        a.y = bits.out(a.queries * a.channels);
        const bool refused = !attention_refusal(variant, a, stream.limits).empty();
        if (!refused) attention(stream, variant, a);
        bits.end(name);
        if (refused) bits.lines.back() = name + " refused";
      }
    }
  }
}

}  // namespace

std::vector<std::string> all_bits(const Stream& stream) {
  Bits bits(stream);
  convolutions(bits);
  volumes(bits);
  tokens(bits);
  return bits.lines;
}

}  // namespace sat::test
