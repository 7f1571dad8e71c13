// 8-bit images: limits, grey and RGB, crops, and windows that make 8 bits of deeper values.
#include "sat/io/images/image.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <ostream>
#include <vector>

#include "sat/tensor/parallel.h"

namespace sat {

namespace {

constexpr int64_t kGrain = int64_t(1) << 16;  // pixels a piece

void check_values(const Tensor& values) {
  SAT_CHECK(values.dtype == DType::f32 && values.shape.rank() == 2 && values.numel() > 0, "grey values are ",
            values.dtype, " ", values.shape, ", needs f32 [height, width]");
}

}  // namespace

std::ostream& operator<<(std::ostream& out, ImageSize size) { return out << size.height << " x " << size.width; }

void check_image_size(ImageSize size, const std::string& name, int64_t max_pixels) {
  SAT_CHECK(size.height >= 1 && size.width >= 1 && size.height <= kMaxImageSide && size.width <= kMaxImageSide, name,
            ": the image is ", size, " pixels (height x width), each side must be 1 to ", kMaxImageSide);
  SAT_CHECK(size.height * size.width <= max_pixels, name, ": the image is ", size, " pixels, ",
            size.height * size.width, " in all; at most ", max_pixels, " are read");
}

Image8::Image8(ImageSize size, int64_t channels) {
  check_image_size(size, "image");
  SAT_CHECK(channels == 1 || channels == 3, "image: ", channels, " channels, needs 1 or 3");
  pixels = Tensor({size.height, size.width, channels}, DType::u8);
}

Image8::Image8(const Tensor& of) : pixels(of) {
  const bool fits = of.dtype == DType::u8 && of.shape.rank() == 3 && (of.shape[2] == 1 || of.shape[2] == 3);
  SAT_CHECK(fits, "image: pixels are ", of.dtype, " ", of.shape, ", needs u8 [height, width, 1 or 3]");
  check_image_size(size(), "image");
}

Image8 to_grey(const Image8& image) {
  if (image.channels() == 1) return image;
  Image8 grey(image.size(), 1);
  const uint8_t* from = image.pixels.address<uint8_t>();
  uint8_t* to = grey.pixels.address<uint8_t>();
  parallel_for(grey.pixels.numel(), kGrain, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const uint8_t* rgb = from + 3 * i;
      to[i] = uint8_t((19595u * rgb[0] + 38470u * rgb[1] + 7471u * rgb[2] + 32768u) >> 16);
    }
  });
  return grey;
}

Image8 to_rgb(const Image8& image) {
  if (image.channels() == 3) return image;
  Image8 rgb(image.size(), 3);
  const uint8_t* from = image.pixels.address<uint8_t>();
  uint8_t* to = rgb.pixels.address<uint8_t>();
  parallel_for(image.pixels.numel(), kGrain, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) std::fill_n(to + 3 * i, 3, from[i]);
  });
  return rgb;
}

Image8 crop(const Image8& image, PixelBox box) {
  SAT_CHECK(box.top >= 0 && box.left >= 0 && box.height >= 1 && box.width >= 1 &&
                box.height <= image.height() - box.top && box.width <= image.width() - box.left,
            "crop: ", box.height, " x ", box.width, " pixels from row ", box.top, " and column ", box.left,
            " on do not lie in an image of ", image.size());
  Image8 part({box.height, box.width}, image.channels());
  const int64_t row = image.width() * image.channels(), part_row = box.width * image.channels();
  const uint8_t* from = image.pixels.address<uint8_t>() + box.top * row + box.left * image.channels();
  uint8_t* to = part.pixels.address<uint8_t>();
  parallel_for(box.height, 64, [&](int64_t first, int64_t last) {
    for (int64_t y = first; y < last; ++y) std::memcpy(to + y * part_row, from + y * row, size_t(part_row));
  });
  return part;
}

Image8 inverted(const Image8& image) {
  Image8 out(image.size(), image.channels());
  const uint8_t* from = image.pixels.address<uint8_t>();
  uint8_t* to = out.pixels.address<uint8_t>();
  parallel_for(out.pixels.numel(), kGrain, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) to[i] = uint8_t(255 - from[i]);
  });
  return out;
}

void check_window(IntensityWindow window, const std::string& name) {
  SAT_CHECK(std::isfinite(window.low) && std::isfinite(window.high) && window.low <= window.high, name,
            ": the window goes from ", window.low, " to ", window.high,
            ", needs two finite numbers, the smaller one first");
}

IntensityWindow range_of(const Tensor& values, const std::string& name) {
  check_values(values);
  const float* v = values.address<float>();
  const int64_t count = values.numel();
  std::vector<IntensityWindow> parts(size_t(divide_up(count, kGrain)), {INFINITY, -INFINITY});
  std::vector<uint8_t> finite(parts.size(), 1);
  parallel_for(count, kGrain, [&](int64_t first, int64_t last) {
    float low = INFINITY, high = -INFINITY;
    bool all_finite = true;
    for (int64_t i = first; i < last; ++i) {
      all_finite &= std::isfinite(v[i]);
      low = std::min(low, v[i]);
      high = std::max(high, v[i]);
    }
    parts[size_t(first / kGrain)] = {double(low), double(high)};
    finite[size_t(first / kGrain)] = all_finite;
  });
  IntensityWindow range = parts.front();
  for (size_t i = 0; i < parts.size(); ++i) {
    SAT_CHECK(finite[i], name, ": some values are not finite numbers");
    range = {std::min(range.low, parts[i].low), std::max(range.high, parts[i].high)};
  }
  return range;
}

Image8 apply_window(const Tensor& values, IntensityWindow window) {
  check_values(values);
  check_window(window, "window");
  Image8 image({values.shape[0], values.shape[1]}, 1);
  const float* from = values.address<float>();
  uint8_t* to = image.pixels.address<uint8_t>();
  const double width = window.high - window.low;
  parallel_for(values.numel(), kGrain, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const double above = double(from[i]) - window.low;
      to[i] = above <= 0 ? 0 : above >= width ? 255 : uint8_t(255 * (above / width) + 0.5);
    }
  });
  return image;
}

}  // namespace sat
