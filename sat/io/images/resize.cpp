// Pillow's antialiased resampling and OpenCV's bilinear and nearest ones, in their fixed point.
#include "sat/io/images/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "sat/tensor/parallel.h"

namespace sat {

namespace {

constexpr int kPillowBits = 22;  // 32, less 8 of a pixel and 2 for weights beyond 1

double triangle(double x) {
  x = std::fabs(x);
  return x < 1 ? 1 - x : 0;
}

double keys_cubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

/// Some inputs along one axis.
struct Inputs {
  int64_t first = 0, count = 0;
};

/// The inputs of each output along one axis: `count[i]` of them from `first[i]` on, with weights in 22 bits.
struct AxisTaps {
  std::vector<int64_t> first, count;
  std::vector<int32_t> weights;  // `most` an output
  int64_t most = 0;

  const int32_t* of(int64_t output) const { return weights.data() + output * most; }
  /// The inputs that any output reads; from now on the first of them is number 0.
  Inputs begin_at_first() {
    const Inputs all{first.front(), first.back() + count.back() - first.front()};
    for (int64_t& input : first) input -= all.first;
    return all;
  }
};

/// Outputs [begin, begin + outputs) of an axis that goes from `in` to `out` samples.
AxisTaps pillow_taps(int64_t in, int64_t out, int64_t begin, int64_t outputs, ResizeFilter filter) {
  const auto kernel = filter == ResizeFilter::bicubic ? keys_cubic : triangle;
  const double scale = double(in) / double(out), stretch = std::max(scale, 1.0), shrink = 1 / stretch;
  const double support = (filter == ResizeFilter::bicubic ? 2 : 1) * stretch;
  AxisTaps taps;
  taps.most = int64_t(std::ceil(support)) * 2 + 1;
  taps.first.resize(size_t(outputs));
  taps.count.resize(size_t(outputs));
  taps.weights.resize(size_t(outputs * taps.most));
  std::vector<double> exact(size_t(taps.most));
  for (int64_t i = 0; i < outputs; ++i) {
    const double centre = (double(begin + i) + 0.5) * scale;
    const int64_t first = std::max<int64_t>(int64_t(centre - support + 0.5), 0);
    const int64_t count = std::min(int64_t(centre + support + 0.5), in) - first;
    double sum = 0;
    for (int64_t k = 0; k < count; ++k) {
      exact[size_t(k)] = kernel((double(k + first) - centre + 0.5) * shrink);
      sum += exact[size_t(k)];
    }
    for (int64_t k = 0; k < count; ++k) {
      const double weight = (sum != 0 ? exact[size_t(k)] / sum : exact[size_t(k)]) * (1 << kPillowBits);
      taps.weights[size_t(i * taps.most + k)] = int32_t(weight + (weight < 0 ? -0.5 : 0.5));
    }
    taps.first[size_t(i)] = first;
    taps.count[size_t(i)] = count;
  }
  return taps;
}

constexpr int32_t kHalf = 1 << (kPillowBits - 1);

uint8_t rounded(int32_t sum) { return uint8_t(std::clamp(sum >> kPillowBits, 0, 255)); }

template <int channels>
void resample_row(uint8_t* to, const uint8_t* from, const AxisTaps& taps) {
  for (size_t x = 0; x < taps.first.size(); ++x) {
    const uint8_t* in = from + taps.first[x] * channels;
    const int32_t* weights = taps.of(int64_t(x));
    int32_t sum[channels];
    std::fill_n(sum, channels, kHalf);
    for (int64_t k = 0; k < taps.count[x]; ++k) {
      for (int c = 0; c < channels; ++c) sum[c] += in[k * channels + c] * weights[k];
    }
    for (int c = 0; c < channels; ++c) *to++ = rounded(sum[c]);
  }
}

/// The horizontal pass over some rows.
Image8 resample_across(const Image8& image, const AxisTaps& taps, Inputs rows) {
  const int64_t channels = image.channels(), row = image.width() * channels;
  Image8 out({rows.count, int64_t(taps.first.size())}, channels);
  const int64_t out_row = out.width() * channels;
  const uint8_t* from = image.pixels.address<uint8_t>() + rows.first * row;
  uint8_t* to = out.pixels.address<uint8_t>();
  parallel_for(rows.count, 16, [&](int64_t first, int64_t last) {
    for (int64_t y = first; y < last; ++y) {
      (channels == 1 ? resample_row<1> : resample_row<3>)(to + y * out_row, from + y * row, taps);
    }
  });
  return out;
}

/// The vertical pass over some columns.
Image8 resample_down(const Image8& image, const AxisTaps& taps, Inputs columns) {
  const int64_t channels = image.channels(), row = image.width() * channels, out_row = columns.count * channels;
  Image8 out({int64_t(taps.first.size()), columns.count}, channels);
  const uint8_t* from = image.pixels.address<uint8_t>() + columns.first * channels;
  uint8_t* to = out.pixels.address<uint8_t>();
  parallel_for(out.height(), 16, [&](int64_t first, int64_t last) {
    std::vector<int32_t> sums(static_cast<size_t>(out_row));
    for (int64_t y = first; y < last; ++y) {
      std::fill(sums.begin(), sums.end(), kHalf);
      for (int64_t k = 0; k < taps.count[size_t(y)]; ++k) {
        const uint8_t* in = from + (taps.first[size_t(y)] + k) * row;
        const int32_t weight = taps.of(y)[k];
        for (int64_t x = 0; x < out_row; ++x) sums[size_t(x)] += in[x] * weight;
      }
      std::transform(sums.begin(), sums.end(), to + y * out_row, rounded);
    }
  });
  return out;
}

void check_target(ImageSize to) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  SAT_CHECK(to.height >= 1 && to.width >= 1 && to.height <= kMost && to.width <= kMost, "resize: to ", to,
            " pixels, each side must be 1 to ", kMost);
}

/// One axis of OpenCV's bilinear resize: two neighbours, and their weights in 11 bits.
struct LinearTap {
  int64_t at = 0;  // of the first; the second follows it, if the image goes on
  int32_t weight[2] = {2048, 0};
};

std::vector<LinearTap> linear_taps(int64_t in, int64_t out, bool clamped) {
  const double scale = 1 / (double(out) / double(in));
  std::vector<LinearTap> taps(static_cast<size_t>(out));
  for (int64_t i = 0; i < out; ++i) {
    float fraction = float((double(i) + 0.5) * scale - 0.5);
    int64_t at = int64_t(std::floor(fraction));
    fraction -= float(at);
    if (clamped && (at < 0 || at >= in - 1)) {
      at = std::clamp<int64_t>(at, 0, in - 1);
      fraction = 0;
    }
    taps[size_t(i)].at = at;
    taps[size_t(i)].weight[0] = int32_t(std::lrintf((1 - fraction) * 2048));
    taps[size_t(i)].weight[1] = int32_t(std::lrintf(fraction * 2048));
  }
  return taps;
}

/// Half the size in both axes, which OpenCV answers with the mean over 2 x 2 pixels.
Image8 halved(const Image8& image) {
  const int64_t channels = image.channels(), row = image.width() * channels;
  Image8 out({image.height() / 2, image.width() / 2}, channels);
  const uint8_t* from = image.pixels.address<uint8_t>();
  uint8_t* to = out.pixels.address<uint8_t>();
  parallel_for(out.height(), 16, [&](int64_t first, int64_t last) {
    for (int64_t y = first; y < last; ++y) {
      for (int64_t x = 0; x < out.width(); ++x) {
        for (int64_t c = 0; c < channels; ++c) {
          const uint8_t* in = from + 2 * y * row + 2 * x * channels + c;
          to[(y * out.width() + x) * channels + c] =
              uint8_t((in[0] + in[channels] + in[row] + in[row + channels] + 2) >> 2);
        }
      }
    }
  });
  return out;
}

}  // namespace

Image8 resize_antialiased(const Image8& image, ImageSize to, ResizeFilter filter, PixelBox part, PassOrder order) {
  check_target(to);
  SAT_CHECK(part.top >= 0 && part.left >= 0 && part.height >= 1 && part.width >= 1 &&
                part.height <= to.height - part.top && part.width <= to.width - part.left,
            "resize: ", part.height, " x ", part.width, " pixels from row ", part.top, " and column ", part.left,
            " on do not lie in an image of ", to);
  AxisTaps across = pillow_taps(image.width(), to.width, part.left, part.width, filter);
  AxisTaps down = pillow_taps(image.height(), to.height, part.top, part.height, filter);
  const int64_t fewer_rows = image.height() - to.height, fewer_columns = image.width() - to.width;
  if (order == PassOrder::pillow_13 && fewer_rows > 0 && fewer_rows > 2 * fewer_columns) {
    const Inputs columns = across.begin_at_first();
    return resample_across(resample_down(image, down, columns), across, {0, part.height});
  }
  const Inputs rows = down.begin_at_first();
  return resample_down(resample_across(image, across, rows), down, {0, part.width});
}

Image8 resize_antialiased(const Image8& image, ImageSize to, ResizeFilter filter, PassOrder order) {
  check_image_size(to, "resize");
  return resize_antialiased(image, to, filter, {0, 0, to.height, to.width}, order);
}

Image8 resize_linear(const Image8& image, ImageSize to) {
  check_image_size(to, "resize");
  if (to == image.size()) return image;
  if (image.height() == 2 * to.height && image.width() == 2 * to.width) return halved(image);
  const std::vector<LinearTap> across = linear_taps(image.width(), to.width, true);
  const std::vector<LinearTap> down = linear_taps(image.height(), to.height, false);
  const int64_t channels = image.channels(), row = image.width() * channels, out_row = to.width * channels;
  Image8 out(to, channels);
  const uint8_t* from = image.pixels.address<uint8_t>();
  uint8_t* target = out.pixels.address<uint8_t>();
  parallel_for(to.height, 16, [&](int64_t first, int64_t last) {
    std::vector<int32_t> rows[2];
    rows[0].resize(size_t(out_row));
    rows[1].resize(size_t(out_row));
    for (int64_t y = first; y < last; ++y) {
      const LinearTap& tap = down[size_t(y)];
      for (int64_t k = 0; k < 2; ++k) {
        const uint8_t* in = from + std::clamp<int64_t>(tap.at + k, 0, image.height() - 1) * row;
        for (int64_t x = 0; x < to.width; ++x) {
          const LinearTap& here = across[size_t(x)];
          const int64_t left = here.at * channels, right = std::min(here.at + 1, image.width() - 1) * channels;
          for (int64_t c = 0; c < channels; ++c) {
            rows[k][size_t(x * channels + c)] = in[left + c] * here.weight[0] + in[right + c] * here.weight[1];
          }
        }
      }
      for (int64_t i = 0; i < out_row; ++i) {
        const int32_t above = (tap.weight[0] * (rows[0][size_t(i)] >> 4)) >> 16;
        const int32_t below = (tap.weight[1] * (rows[1][size_t(i)] >> 4)) >> 16;
        target[y * out_row + i] = uint8_t(std::clamp((above + below + 2) >> 2, 0, 255));
      }
    }
  });
  return out;
}

Image8 resize_nearest(const Image8& image, ImageSize to) {
  check_image_size(to, "resize");
  const int64_t channels = image.channels();
  const double across = 1 / (double(to.width) / double(image.width()));
  const double down = 1 / (double(to.height) / double(image.height()));
  Image8 out(to, channels);
  const uint8_t* from = image.pixels.address<uint8_t>();
  uint8_t* target = out.pixels.address<uint8_t>();
  parallel_for(to.height, 16, [&](int64_t first, int64_t last) {
    for (int64_t y = first; y < last; ++y) {
      const int64_t in_y = std::min(int64_t(double(y) * down), image.height() - 1);
      for (int64_t x = 0; x < to.width; ++x) {
        const int64_t in_x = std::min(int64_t(double(x) * across), image.width() - 1);
        std::memcpy(target + (y * to.width + x) * channels, from + (in_y * image.width() + in_x) * channels,
                    size_t(channels));
      }
    }
  });
  return out;
}

ImageSize shortest_edge_size(ImageSize from, int64_t shortest) {
  check_image_size(from, "resize");
  SAT_CHECK(shortest >= 1 && shortest <= kMaxImageSide, "resize: a shorter side of ", shortest, " pixels, needs 1 to ",
            kMaxImageSide);
  const bool portrait = from.height >= from.width;
  const int64_t less = portrait ? from.width : from.height, more = portrait ? from.height : from.width;
  const int64_t longer = shortest * more / less;
  return portrait ? ImageSize{longer, shortest} : ImageSize{shortest, longer};
}

}  // namespace sat
