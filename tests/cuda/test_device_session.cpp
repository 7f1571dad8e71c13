// Many windows on a device: captured and launched again, blended there or on the way, within a cap, on several devices.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "sat/cuda/device/device.h"
#include "sat/nn/run/session.h"
#include "sat/nn/sat/sat_model.h"
#include "sat/tensor/device/backend.h"
#include "sat/tensor/memory/block_allocator.h"
#include "tests/cuda/device_context.h"
#include "tests/support/golden.h"
#include "tests/support/tiny_model.h"

using namespace sat;
using namespace sat::test;

namespace {

/// The tiny model's files and a scan of eighteen windows.
struct Case {
  TempDir folder;
  Volume scan = tiny_scan({26, 20, 14});
  std::vector<std::string> prompts;

  explicit Case(int64_t count = 3, BackboneKind backbone = BackboneKind::unet) {
    write_tiny_model(folder / "model.safetensors", folder / "bank.safetensors", count, backbone);
    for (int64_t i = 0; i < count; ++i) prompts.push_back("prompt " + std::to_string(i));
  }

  Segmentation run(const DeviceHandle& device, Precision precision = Precision::exact,
                   std::vector<float>* probabilities = nullptr, bool verify = false) const {
    ModelOptions options;
    options.model = folder / "model.safetensors";
    options.bank = folder / "bank.safetensors";
    options.precision = precision;
    options.device = device;
    SessionOptions of_session;
    of_session.scratch = folder.path();
    RunOptions run;
    run.modality = "ct";
    run.verify = verify;
    if (probabilities) {
      run.probabilities = [&](const Geometry& grid) {
        const int64_t voxels = grid.voxels();
        probabilities->assign(size_t(voxels) * prompts.size(), 0);
        std::vector<float*> volumes;
        for (size_t i = 0; i < prompts.size(); ++i) volumes.push_back(probabilities->data() + int64_t(i) * voxels);
        return volumes;
      };
    }
    return Session(Model::open(options), of_session).run(scan, prompts, run);
  }
};

std::vector<float> probabilities_of(const Case& one, const cuda::DeviceOptions& options, Waiting waiting) {
  std::vector<float> probabilities;
  const Segmentation found = one.run(cuda::open_device(options), Precision::exact, &probabilities);
  CHECK(found.plan.waiting == waiting);
  CHECK(found.device_peak_bytes == found.plan.device_bytes);
  return probabilities;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, double(std::fabs(a[i] - b[i])));
  return largest;
}

/// The least that a run of `one` needs on a device: what is planned when its scores do not fit.
int64_t least_bytes(const Case& one) {
  cuda::DeviceOptions options;
  SegmentationPlan plan;
  for (int turn = 0; turn < 2; ++turn) {
    ContextOptions of_context;
    of_context.device = cuda::virtual_device(options);
    Context context(of_context);
    UseContext use(context);
    RunOptions run;
    run.modality = "ct";
    plan = plan_segmentation(tiny_config(), one.scan.geometry, run, int64_t(one.prompts.size()));
    options.max_bytes = plan.device_bytes - 1;
  }
  CHECK(plan.waiting == Waiting::features);
  return plan.device_bytes;
}

/// What a published model and a full window of it with 32 prompts hold on a device in fast precision, by a dry run.
std::vector<int64_t> window_chunks(const char* architecture) {
  ContextOptions of_context;
  of_context.precision = Precision::fast;
  of_context.device = cuda::virtual_device();
  of_context.dry = true;
  Context context(of_context);
  UseContext use(context);
  const SatConfig config = published_config(architecture);
  const SatModel model(Weights::made([](const std::string&, const Shape& shape) { return Tensor(shape); }), config);
  context.planned_memory()->reserve(0);
  const ImageFeatures image = model.encode_image(Tensor({1, 288, 288, 96, 1}));
  const Tensor masks = model.mask_vectors(model.decode(Tensor({32, config.text_dim}), image.memory));
  return context.planned_memory()->chunk_peaks();
}

/// Takes that from the device itself.
void take_window(const char* architecture) {
  const auto device = cuda::open_device();
  for (int64_t bytes : window_chunks(architecture)) device->runtime().planned_memory()->reserve(bytes);
}

}  // namespace

TEST_CASE("windows that are captured once and launched again give the probabilities of the CPU") {
  const Case one;
  std::vector<float> here, there;
  const Segmentation expected = one.run(nullptr, Precision::exact, &here);
  const Segmentation found = one.run(cuda::open_device(), Precision::exact, &there);
  CHECK(found.windows == 18);
  CHECK(found.windows == expected.windows);
  CHECK(largest_difference(here, there) <= 1e-5);
  CHECK(found.device_peak_bytes == found.plan.device_bytes);
}

TEST_CASE("captured windows of U-Mamba and SwinUNETR give the probabilities of the CPU, and hold what is planned") {
  for (const BackboneKind backbone : {BackboneKind::umamba, BackboneKind::swin_unetr}) {
    CAPTURE(int(backbone));
    const Case one(2, backbone);
    std::vector<float> here, there;
    one.run(nullptr, Precision::exact, &here);
    const Segmentation found = one.run(cuda::open_device(), Precision::exact, &there);
    CHECK(found.windows > 2);  // the second is captured, the third launched
    CHECK(largest_difference(here, there) <= 1e-4);
    CHECK(found.device_peak_bytes == found.plan.device_bytes);
  }
}

TEST_CASE("fast precision on a device stays close to exact") {
  const Case one;
  std::vector<float> exact, fast;
  one.run(cuda::open_device(), Precision::exact, &exact);
  const Segmentation found = one.run(cuda::open_device(), Precision::fast, &fast, true);
  CHECK(largest_difference(exact, fast) <= 2e-2);
  REQUIRE(found.verification);
  CHECK(found.verification->largest_difference > 0);
  CHECK(found.verification->largest_difference <= 2e-2);
}

TEST_CASE("scores that wait on the device, features that wait beside it: the same bits") {
  const Case one(40);
  cuda::DeviceOptions plenty, little;
  const std::vector<float> expected = probabilities_of(one, plenty, Waiting::scores);
  little.max_bytes = least_bytes(one);
  CHECK(largest_difference(expected, probabilities_of(one, little, Waiting::features)) == 0);
}

TEST_CASE("a cap on device memory is obeyed or refused with the figure") {
  const Case one(40);
  cuda::DeviceOptions options;
  options.max_bytes = least_bytes(one);
  CHECK(one.run(cuda::open_device(options)).device_peak_bytes <= options.max_bytes);
  options.max_bytes = least_bytes(one) - 4096;
  CHECK_THROWS_WITH_AS(one.run(cuda::open_device(options)), doctest::Contains("the limit is"), Error);
  options.max_bytes = 1000;
  CHECK_THROWS_WITH_AS(cuda::open_device(options), doctest::Contains("is less than"), Error);
}

TEST_CASE("an input that is not finite is refused by name") {
  Case one;
  one.scan.voxels.data<float>()[1234] = std::numeric_limits<float>::infinity();
  CHECK_THROWS_AS(one.run(cuda::open_device()), Error);
}

TEST_CASE("a full window of the published models fits the memory of a small card") {
  const auto device_bytes = [](const char* architecture) {
    const std::vector<int64_t> chunks = window_chunks(architecture);
    return std::accumulate(chunks.begin(), chunks.end(), cuda::virtual_device()->runtime().fixed_bytes());
  };
  const int64_t nano = device_bytes("UNET"), pro = device_bytes("UNET-L");
  CHECK(nano > 1'300'000'000);
  CHECK(nano <= 2'000'000'000);
  CHECK(pro > 3'000'000'000);
  CHECK(pro <= 6'000'000'000);
}

TEST_SUITE("two gigabytes") {
  TEST_CASE("a device of that size gives a window of SAT-Nano what it plans for, weights included") {
    CHECK(cuda::devices().at(0).bytes <= 2'000'000'000);
    CHECK_NOTHROW(take_window("UNET"));
    CHECK_THROWS_AS(take_window("UNET-L"), Error);
  }
}

TEST_SUITE("six gigabytes") {
  TEST_CASE("a device of that size gives a window of SAT-Pro what it plans for, weights included") {
    CHECK(cuda::devices().at(0).bytes <= 6'000'000'000);
    CHECK_NOTHROW(take_window("UNET-L"));
  }
}

TEST_SUITE("memory cap") {
  TEST_CASE("a model that a small device cannot hold is refused before it is loaded, and the device goes on") {
    const Case one;
    const std::vector<cuda::DeviceInfo> found = cuda::devices();
    REQUIRE(!found.empty());
    cuda::DeviceOptions generous;
    generous.max_bytes = 64 * found[0].bytes;  // more than there is: what the device itself says counts
    const auto device = cuda::open_device(generous);
    CHECK_THROWS_WITH_AS(device->runtime().planned_memory()->reserve(2 * found[0].bytes),
                         doctest::Contains("is out of memory"), Error);
    CHECK_NOTHROW(one.run(device));
  }
}

TEST_SUITE("several devices") {
  TEST_CASE("a case has the same bits on each device") {
    const std::vector<cuda::DeviceInfo> found = cuda::devices();
    REQUIRE(found.size() > 1);
    const Case one;
    std::vector<float> first, other;
    cuda::DeviceOptions options;
    one.run(cuda::open_device(options), Precision::fast, &first);
    options.index = 1;
    one.run(cuda::open_device(options), Precision::fast, &other);
    CHECK(largest_difference(first, other) == 0);
  }
}
