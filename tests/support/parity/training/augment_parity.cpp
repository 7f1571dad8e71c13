// Compares the augmentation of training crops with recorded values, run by run.
#include "tests/support/parity/training/augment_parity.h"

#include <cmath>

#include "sat/nn/train/data/augment.h"
#include "tests/support/golden.h"
#include "tests/support/parity/recorded.h"

namespace sat::test {

namespace {

constexpr double kVoxels = 5e-6, kParameters = 1e-9;

struct Run {
  std::vector<double> uniforms;
  size_t used = 0;
  double next() {
    SAT_CHECK(used < uniforms.size(), "a run has ", uniforms.size(), " uniform numbers, and more are drawn");
    return uniforms[used++];
  }
  double between(double low, double high) { return low + (high - low) * next(); }
};

/// Labels [2, H, W, D] by the generator, as bits 0 and 1 of [H, W, D, 1].
Tensor generated_labels(const std::string& prefix, const Shape& shape) {
  const int64_t voxels = shape.numel();
  const std::vector<double> numbers = unit(prefix + "label", 2 * voxels);
  Tensor masks({shape[0], shape[1], shape[2], 1}, DType::u8);
  for (int64_t v = 0; v < voxels; ++v) {
    masks.data<uint8_t>()[v] =
        uint8_t((numbers[size_t(v)] < 0.3 ? 1 : 0) | (numbers[size_t(voxels + v)] < 0.3 ? 2 : 0));
  }
  return masks;
}

double differing_labels(const Tensor& masks, const Tensor& recorded) {
  const int64_t voxels = masks.numel();
  if (recorded.numel() != 2 * voxels) return INFINITY;
  double differ = 0;
  for (int64_t v = 0; v < 2 * voxels; ++v) {
    const bool got = masks.data<uint8_t>()[v % voxels] >> (v / voxels) & 1;
    const double want = recorded.dtype == DType::f32  ? double(recorded.data<float>()[v])
                        : recorded.dtype == DType::u8 ? double(recorded.data<uint8_t>()[v])
                                                      : double(recorded.data<bool>()[v]);
    differ += double(got) != want;
  }
  return differ;
}

}  // namespace

std::vector<ParityLine> compare_augmentation(const std::string& folder) {
  const Json about = read_json(folder + "/case.json"), values = read_json(folder + "/values.json");
  const std::string prefix = about["prefix"].string();
  const Shape shape(about["shape"].integers());
  const Tensor image = field(prefix + "image", shape, 1.5), labels = generated_labels(prefix, shape);
  const AugmentationSettings settings;
  std::vector<ParityLine> lines;
  for (const Json& one : about["runs"].items()) {
    const std::string name = one["name"].string(), transform = one["transform"].string();
    const Json& record = values[name];
    const Json& parameters = record["parameters"];
    Run run{record["uniforms"].numbers()};
    Tensor got;
    const auto check = [&](const char* what, double value) {
      lines.push_back(compare_number(name + " " + what, value, parameters[what].number(), kParameters));
    };
    if (transform == "zoom") {
      const double factor = run.between(settings.zoom[0], settings.zoom[1]);
      check("factor", factor);
      got = zoom_image(image, factor);
      const Tensor recorded = read_npy(folder + "/" + name + "-label.npy");
      lines.push_back({name + " labels", differing_labels(zoom_masks(labels, factor), recorded), 0});
    } else if (transform == "noise") {
      const double deviation = run.between(0, settings.noise_deviation);
      check("std", deviation);
      got = add_noise(image, field(prefix + "noise", shape, std::sqrt(3.0)), deviation);
    } else if (transform == "sharpen") {
      const Sharpening drawn = draw_sharpening([&] { return run.next(); });
      for (size_t axis = 0; axis < 3; ++axis) {
        check(("sigma1_" + std::to_string(axis)).c_str(), drawn.first[axis]);
        check(("sigma2_" + std::to_string(axis)).c_str(), drawn.second[axis]);
      }
      check("alpha", drawn.amount);
      got = sharpen(image, drawn);
    } else if (transform == "intensity_scale") {
      const double by = run.between(settings.scale[0], settings.scale[1]);
      check("factor", by);
      got = scale_intensity(image, by);
    } else {
      SAT_CHECK(transform == "contrast", folder, ": unknown transform '", transform, "'");
      const double gamma = run.between(settings.gamma[0], settings.gamma[1]);
      check("gamma", gamma);
      got = adjust_contrast(image, gamma);
    }
    lines.push_back(compare_array(name, got, folder + "/" + name + ".npy", kVoxels));
    got = got.reshape({1, shape[0], shape[1], shape[2]});
    lines.push_back(compare_statistics(name + " statistics", got, record["image"], kVoxels));
  }
  return lines;
}

}  // namespace sat::test
