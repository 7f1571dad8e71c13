// wgmma is tried before it is trusted: what the trial finds, and what is taken where it fails.
#include <doctest/doctest.h>

#include <memory>
#include <vector>

#include "sat/cuda/backend.h"
#include "tests/cuda/device_array.h"
#include "tests/support/golden.h"

namespace sat::test {

namespace {

using cuda::Conv;
using cuda::ConvVariant;
using cuda::Stream;

constexpr cuda::DeviceLimits kHopper{90, 132, 232448}, kWrongHopper{90, 132, 232448, false};

/// A layer that wgmma likes.
Conv large_conv() {
  Conv conv;
  conv.in_size = conv.out_size = {48, 48, 48};
  conv.inputs[0].dtype = conv.dtype = DType::f16;
  conv.inputs[0].channels = conv.out = 64;
  conv.last = 48;
  return conv;
}

void only_zeros(const Stream& stream, const Conv& conv) {
  const int64_t voxels = conv.out_size[0] * conv.out_size[1] * conv.out_size[2];
  cuda::check(cudaMemsetAsync(conv.values, 0, size_t(4 * voxels * conv.out), stream.handle), "cudaMemsetAsync");
}

/// Right but for what stands 16 bytes off a line: each second voxel of a few is another one's.
void one_voxel_off(const Stream& stream, const Conv& conv) {
  cuda::conv3d_wgmma(stream, conv);
  const size_t voxel = size_t(4 * conv.out);
  auto* const values = static_cast<char*>(conv.values);
  cuda::check(cudaMemcpyAsync(values + 5 * voxel, values + 4 * voxel, voxel, cudaMemcpyDeviceToDevice, stream.handle),
              "cudaMemcpyAsync");
}

}  // namespace

TEST_CASE("the self-test passes wgmma where it agrees with mma, and no form that gives other sums") {
  const Stream stream = device_stream();
  CHECK_FALSE(cuda::agrees_with_mma(stream, only_zeros));
  if (stream.limits.arch / 10 != 9) return;
  CHECK(cuda::agrees_with_mma(stream, cuda::conv3d_wgmma));
  CHECK_FALSE(cuda::agrees_with_mma(stream, one_voxel_off));
}

TEST_CASE("a device whose wgmma failed its self-test takes mma, also where wgmma is named") {
  const Conv conv = large_conv();
  CHECK(cuda::choose_conv3d(conv, kHopper) == ConvVariant::wgmma);
  CHECK(cuda::choose_conv3d(conv, kWrongHopper) == ConvVariant::mma);
  CHECK(cuda::choose_conv3d(conv, kWrongHopper, ConvVariant::wgmma) == ConvVariant::mma);
  CHECK(cuda::conv3d_refusal(ConvVariant::wgmma, conv, kWrongHopper) ==
        "gave other sums than mma in its self-test on this device");
}

TEST_CASE("a device without wgmma computes what one that is told to avoid it does, and plans for the same") {
  const std::vector<cuda::DeviceInfo> found = cuda::devices();
  REQUIRE(!found.empty());
  cuda::DeviceOptions options;
  options.max_bytes = int64_t(64) << 20;
  const auto result = [&](const char* conv, bool wgmma_right) {
    options.conv = conv;
    ContextOptions of_context;
    of_context.precision = Precision::fast;
    of_context.device = std::make_shared<cuda::CudaBackend>(
        options, found[0], cuda::DeviceLimits{found[0].arch, 4, found[0].shared_bytes, wgmma_right}, false);
    Context context(of_context);
    UseContext use(context);
    const Tensor weight = field("weight", {64, 64, 3, 3, 3}, 0.05);
    const Features x{to_compute_device(field("x", {1, 2, 32, 32, 64}, 1).cast(DType::f16))};
    ConvSite site;
    site.input = DType::f16;
    const NormWeights norm{to_compute_device(field("gain", {64}, 0.1, 1)),
                           to_compute_device(field("shift", {64}, 0.1))};
    const Features y = conv3d_norm(x, pack_conv_block(weight, site), norm);
    return to_host(materialize(y));
  };
  const Tensor avoided = result("composed", true);
  CHECK(mismatch(result("automatic", false), avoided, {}) == "");
  CHECK(mismatch(result("wgmma", false), avoided, {}) == "");

  const cuda::CudaBackend wrong(options, found[0], kWrongHopper, true);
  const auto planned = std::static_pointer_cast<cuda::CudaBackend>(wrong.dry_run());
  CHECK_FALSE(planned->limits().wgmma_right);
}

TEST_CASE("what is said of the device that the tests run on names it, and says nothing of a wgmma that is right") {
  const std::vector<std::string> said = cuda::remarks({});
  for (const std::string& remark : said) {
    CHECK(remark.find("cuda:0 (") == 0);
    CHECK(remark.find("self-test") == std::string::npos);
  }
}

}  // namespace sat::test
