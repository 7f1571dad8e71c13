// Preparation of radiographs against the recorded outputs of the published processor.
#include "tests/support/parity/image_parity.h"

#include <algorithm>
#include <cmath>

#include "examples/sat/images/load_image.h"
#include "sat/io/files/file.h"
#include "sat/io/images/prepare.h"
#include "sat/io/words/json.h"
#include "tests/support/golden.h"

namespace sat::test {

namespace {

/// The recorded values' synthetic radiograph: (floor((3 x + 5 y) / 8) + floor(64 unit)) mod 256.
Image8 generated_image(const std::string& prefix, int64_t height, int64_t width) {
  const std::string name = prefix + "gray_" + std::to_string(height) + "x" + std::to_string(width);
  Image8 image({height, width}, 1);
  uint8_t* pixels = image.pixels.data<uint8_t>();
  const std::vector<double> noise = unit(name, height * width);
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      const int64_t i = y * width + x;
      pixels[i] = uint8_t(((3 * x + 5 * y) / 8 + int64_t(64 * noise[size_t(i)])) % 256);
    }
  }
  return image;
}

std::vector<int64_t> channel_sums(const Image8& image) {
  const Image8 rgb = to_rgb(image);
  const uint8_t* pixels = rgb.pixels.data<uint8_t>();
  std::vector<int64_t> sums(3);
  for (int64_t i = 0; i < rgb.pixels.numel(); ++i) sums[size_t(i % 3)] += pixels[i];
  return sums;
}

double differences(const std::vector<int64_t>& got, const std::vector<int64_t>& want) {
  if (got.size() != want.size()) return double(std::max(got.size(), want.size()));
  double count = 0;
  for (size_t i = 0; i < got.size(); ++i) count += got[i] != want[i];
  return count;
}

double sample_differences(const Image8& rgb, const Json& samples) {
  double count = 0;
  for (const Json& sample : samples.items()) {
    const int64_t row = sample["row"].integer(), first = sample["first_column"].integer();
    const std::vector<int64_t> want = sample["values"].integers();
    const uint8_t* pixels = rgb.pixels.data<uint8_t>() + sample["channel"].integer();
    for (size_t i = 0; i < want.size(); ++i) {
      count += pixels[3 * (row * rgb.width() + first + int64_t(i))] != want[i];
    }
  }
  return count;
}

/// Three runs, of the first channel but for the last one, and mean and standard deviation a channel.
double normalised_error(const Tensor& input, const Json& want) {
  const int64_t size = input.shape[1], count = size * size;
  const float* values = input.data<float>();
  double largest = 0;
  const auto run = [&](const char* name, int64_t channel, int64_t row, int64_t column) {
    for (const double value : want[name].numbers()) {
      largest = std::max(largest, std::fabs(double(values[3 * (row * size + column++) + channel]) - value));
    }
  };
  run("first", 0, 0, 0);
  run("middle", 0, size / 2, size / 2 - 4);
  run("last", 2, size - 1, size - 8);
  for (int64_t c = 0; c < 3; ++c) {
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < count; ++i) sum += double(values[3 * i + c]);
    for (int64_t i = 0; i < count; ++i) squares += std::pow(double(values[3 * i + c]) - sum / double(count), 2);
    largest = std::max(largest, std::fabs(sum / double(count) - want["mean"][size_t(c)].number()));
    largest = std::max(largest, std::fabs(std::sqrt(squares / double(count)) - want["std"][size_t(c)].number()));
  }
  return largest;
}

}  // namespace

std::vector<ParityLine> compare_rad_dino_preprocess(const std::string& folder) {
  const Json form = Json::parse(read_text(folder + "/case.json"), folder + "/case.json");
  const Json records = Json::parse(read_text(folder + "/values.json"), folder + "/values.json");
  ImagePreparation steps = rad_dino_input(form["crop"].integer());
  steps.shortest = form["short_side"].integer();
  steps.mean = form["mean"].number();
  steps.deviation = form["std"].number();
  cli::ImageOptions as_published;
  as_published.window = cli::WindowRule::saturate;

  std::vector<ParityLine> lines;
  for (const Json& one : form["cases"].items()) {
    const std::string name = one["name"].string();
    const Json& want = records[name];
    const Json* file = one.find("file");
    const Image8 image =
        file ? cli::load_image(folder + "/" + file->string(), as_published).image
             : generated_image(form["prefix"].string(), one["height"].integer(), one["width"].integer());
    const PreparedImage prepared = prepare_image(image, steps);
    const ImagePlacement& placement = prepared.placement;
    const Image8 rgb = to_rgb(prepared.pixels);
    const uint32_t crc = crc32(rgb.pixels.data<uint8_t>(), rgb.pixels.numel());

    lines.push_back({name + ": size",
                     differences({image.height(), image.width()}, {want["height"].integer(), want["width"].integer()}),
                     0});
    lines.push_back({name + ": sums of the image", differences(channel_sums(image), want["rgb_sum"].integers()), 0});
    lines.push_back({name + ": resized",
                     differences({placement.resized.height, placement.resized.width}, want["resized"].integers()), 0});
    lines.push_back(
        {name + ": crop", differences({placement.seen.top, placement.seen.left}, want["crop"].integers()), 0});
    lines.push_back({name + ": sums of the crop", differences(channel_sums(rgb), want["crop_sum"].integers()), 0});
    lines.push_back({name + ": samples of the crop", sample_differences(rgb, want["crop_samples"]), 0});
    lines.push_back({name + ": checksum of the crop", crc == want["crop_crc32_hwc"].integer() ? 0.0 : 1.0, 0});
    lines.push_back({name + ": normalised", normalised_error(prepared.input, want["normalised"]), 1e-6});
  }
  return lines;
}

}  // namespace sat::test
