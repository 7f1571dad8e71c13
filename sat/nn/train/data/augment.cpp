// The transforms, plane by plane: what an output plane needs of its neighbours waits in buffers that stay in cache.
#include "sat/nn/train/data/augment.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <vector>

#include "sat/nn/train/data/random.h"
#include "sat/tensor/parallel.h"

namespace sat {

namespace {

constexpr int64_t kGrain = 1 << 16;  // voxels a piece
constexpr int64_t kBlock = 4;        // normal numbers a block of random bits

void check_volume(const char* who, const Tensor& image) {
  SAT_CHECK(image.dtype == DType::f32 && image.shape.rank() == 3 && image.numel() > 0, who, ": voxels are ",
            image.dtype, " ", image.shape, ", need f32 [H, W, D] with at least one");
}

void check_masks(const char* who, const Tensor& masks) {
  SAT_CHECK(masks.dtype == DType::u8 && masks.shape.rank() == 4, who, ": masks are ", masks.dtype, " ", masks.shape,
            ", need u8 [H, W, D, bytes]");
}

/// Where an axis of n voxels is read from when it is zoomed to m: output i covers [first, last), its nearest voxel is
/// `first` too.
struct ZoomedAxis {
  std::vector<int64_t> first, last;

  ZoomedAxis(int64_t n, double factor) : first(size_t(n)), last(size_t(n)) {
    const auto m = int64_t(std::floor(double(n) * factor));
    SAT_CHECK(m >= 1, "zoom: an axis of ", n, " voxels has none left at factor ", factor);
    for (int64_t i = 0; i < n; ++i) {
      const int64_t j = m < n ? std::clamp<int64_t>(i - (n - m) / 2, 0, m - 1) : i + m / 2 - n / 2;
      first[size_t(i)] = j * n / m;
      last[size_t(i)] = divide_up((j + 1) * n, m);
    }
  }
};

void add_scaled(float* __restrict out, const float* __restrict in, float factor, int64_t count) {
  for (int64_t i = 0; i < count; ++i) out[i] += factor * in[i];
}

/// Calls body(h, first plane buffer, second) for every plane h, with two buffers of a plane each.
template <class Body>
void for_each_plane(const Tensor& image, Body body) {
  const int64_t plane = image.shape[1] * image.shape[2];
  const int64_t grain = std::max<int64_t>(1, kGrain / plane);
  parallel_for(image.shape[0], grain, [&](int64_t begin, int64_t end) {
    std::vector<float> one(size_t(plane), 0), two(size_t(plane), 0);
    for (int64_t h = begin; h < end; ++h) body(h, one.data(), two.data());
  });
}

/// Calls body(first, last) on pieces of the voxels.
template <class Body>
void for_each_piece(const Tensor& image, Body body) {
  parallel_for(image.numel(), kGrain, body);
}

/// Taps -t .. t of a Gaussian: its integral over each voxel, not normalised.
std::vector<float> gaussian_taps(double deviation) {
  const auto t = int64_t(std::floor(std::max(4 * deviation, 0.5) + 0.5));
  const double width = deviation * std::numbers::sqrt2;
  std::vector<float> taps;
  for (int64_t i = -t; i <= t; ++i) {
    taps.push_back(float(0.5 * (std::erf((double(i) + 0.5) / width) - std::erf((double(i) - 0.5) / width))));
  }
  return taps;
}

/// Calls add(tap, source index) for the taps of output i whose source lies in 0 .. n - 1.
template <class Add>
void for_each_tap(const std::vector<float>& taps, int64_t i, int64_t n, Add add) {
  const int64_t t = int64_t(taps.size()) / 2;
  for (int64_t j = std::max<int64_t>(0, i - t); j <= std::min(n - 1, i + t); ++j) add(taps[size_t(j - i + t)], j);
}

Tensor blurred(const Tensor& image, const std::array<double, 3>& deviation) {
  const int64_t H = image.shape[0], W = image.shape[1], D = image.shape[2];
  const std::array<std::vector<float>, 3> taps{gaussian_taps(deviation[0]), gaussian_taps(deviation[1]),
                                               gaussian_taps(deviation[2])};
  const int64_t t = int64_t(taps[2].size()) / 2;
  Tensor result = empty_like(image);
  const float* from = image.address<float>();
  float* to = result.address<float>();
  for_each_plane(image, [&](int64_t h, float* one, float* two) {
    std::fill(one, one + W * D, 0.0f);
    for_each_tap(taps[0], h, H, [&](float tap, int64_t j) { add_scaled(one, from + j * W * D, tap, W * D); });
    std::fill(two, two + W * D, 0.0f);
    for (int64_t w = 0; w < W; ++w) {
      for_each_tap(taps[1], w, W, [&](float tap, int64_t j) { add_scaled(two + w * D, one + j * D, tap, D); });
    }
    float* out = to + h * W * D;
    std::fill(out, out + W * D, 0.0f);
    for (int64_t w = 0; w < W; ++w) {
      for (int64_t k = -t; k <= t; ++k) {  // out[d] += tap * in[d + k] where both are inside
        const int64_t first = std::max<int64_t>(0, -k), last = D - std::max<int64_t>(0, k);
        if (first >= last) continue;
        add_scaled(out + w * D + first, two + w * D + first + k, taps[2][size_t(k + t)], last - first);
      }
    }
  });
  return result;
}

}  // namespace

Tensor zoom_image(const Tensor& image, double factor) {
  check_volume("zoom_image", image);
  const int64_t H = image.shape[0], W = image.shape[1], D = image.shape[2];
  const ZoomedAxis h_axis(H, factor), w_axis(W, factor), d_axis(D, factor);
  Tensor result = empty_like(image);
  const float* from = image.address<float>();
  float* to = result.address<float>();
  const auto mean_of_rows = [](float* out, const float* rows, int64_t first, int64_t last, int64_t count) {
    const float share = 1 / float(last - first);
    std::fill(out, out + count, 0.0f);
    for (int64_t j = first; j < last; ++j) add_scaled(out, rows + j * count, share, count);
  };
  for_each_plane(image, [&](int64_t h, float* one, float* two) {
    mean_of_rows(one, from, h_axis.first[size_t(h)], h_axis.last[size_t(h)], W * D);
    for (int64_t w = 0; w < W; ++w) {
      mean_of_rows(two + w * D, one, w_axis.first[size_t(w)], w_axis.last[size_t(w)], D);
    }
    float* out = to + h * W * D;
    for (int64_t d = 0; d < D; ++d) {
      const int64_t first = d_axis.first[size_t(d)], last = d_axis.last[size_t(d)];
      const float share = 1 / float(last - first);
      for (int64_t w = 0; w < W; ++w) {
        float sum = 0;
        for (int64_t j = first; j < last; ++j) sum += two[w * D + j];
        out[w * D + d] = sum * share;
      }
    }
  });
  return result;
}

Tensor zoom_masks(const Tensor& masks, double factor) {
  check_masks("zoom_masks", masks);
  const int64_t H = masks.shape[0], W = masks.shape[1], D = masks.shape[2], bytes = masks.shape[3];
  const ZoomedAxis h_axis(H, factor), w_axis(W, factor), d_axis(D, factor);
  Tensor result = empty_like(masks);
  const uint8_t* from = masks.address<uint8_t>();
  uint8_t* to = result.address<uint8_t>();
  parallel_for(H * W, std::max<int64_t>(1, kGrain / D), [&](int64_t begin, int64_t end) {
    for (int64_t line = begin; line < end; ++line) {
      const int64_t h = h_axis.first[size_t(line / W)], w = w_axis.first[size_t(line % W)];
      const uint8_t* row = from + (h * W + w) * D * bytes;
      uint8_t* out = to + line * D * bytes;
      for (int64_t d = 0; d < D; ++d) {
        std::memcpy(out + d * bytes, row + d_axis.first[size_t(d)] * bytes, size_t(bytes));
      }
    }
  });
  return result;
}

Tensor add_noise(const Tensor& image, const Tensor& noise, double deviation) {
  check_volume("add_noise", image);
  SAT_CHECK(noise.dtype == DType::f32 && noise.shape == image.shape, "add_noise: noise is ", noise.dtype, " ",
            noise.shape, ", voxels are ", image.shape);
  Tensor result = empty_like(image);
  const float *x = image.address<float>(), *z = noise.address<float>();
  float* y = result.address<float>();
  const auto factor = float(deviation);
  for_each_piece(image, [=](int64_t first, int64_t last) {
    for (int64_t v = first; v < last; ++v) y[v] = x[v] + factor * z[v];
  });
  return result;
}

Tensor normal_field(const Shape& shape, const KeyedRandom& random) {
  Tensor field(shape);
  float* out = field.address<float>();
  const int64_t count = field.numel();
  SAT_CHECK(count / kBlock < int64_t(UINT32_MAX), "normal_field: ", shape, " has more voxels than a stream has blocks");
  static_assert(kGrain % kBlock == 0, "pieces start with a block");
  for_each_piece(field, [&](int64_t first, int64_t last) {
    for (int64_t v = first; v < last; v += kBlock) {
      const std::array<uint32_t, 4> bits = random.at(uint32_t(v / kBlock));
      std::array<float, size_t(kBlock)> four;
      for (size_t pair = 0; pair < 4; pair += 2) {  // Box and Muller: two uniform numbers, two normal ones
        const float radius = std::sqrt(-2 * std::log((float(bits[pair]) + 0.5f) * 0x1p-32f));
        const float angle = 2 * std::numbers::pi_v<float> * 0x1p-32f * float(bits[pair + 1]);
        four[pair] = radius * std::cos(angle);
        four[pair + 1] = radius * std::sin(angle);
      }
      std::copy_n(four.begin(), std::min(kBlock, last - v), out + v);
    }
  });
  return field;
}

Sharpening draw_sharpening(const std::function<double()>& unit) {
  Sharpening drawn;
  for (double& deviation : drawn.first) deviation = 0.5 + 0.5 * unit();
  for (size_t axis = 0; axis < 3; ++axis) drawn.second[axis] = 0.5 + (drawn.first[axis] - 0.5) * unit();
  drawn.amount = 10 + 20 * unit();
  return drawn;
}

Tensor sharpen(const Tensor& image, const Sharpening& by) {
  check_volume("sharpen", image);
  const Tensor once = blurred(image, by.first);
  Tensor result = blurred(once, by.second);
  const float* b = once.address<float>();
  float* y = result.address<float>();
  const auto amount = float(by.amount);
  for_each_piece(image, [=](int64_t first, int64_t last) {
    for (int64_t v = first; v < last; ++v) y[v] = b[v] + amount * (b[v] - y[v]);
  });
  return result;
}

Tensor scale_intensity(const Tensor& image, double by) {
  check_volume("scale_intensity", image);
  Tensor result = empty_like(image);
  const float* x = image.address<float>();
  float* y = result.address<float>();
  const auto factor = float(1 + by);
  for_each_piece(image, [=](int64_t first, int64_t last) {
    for (int64_t v = first; v < last; ++v) y[v] = x[v] * factor;
  });
  return result;
}

Tensor adjust_contrast(const Tensor& image, double gamma) {
  check_volume("adjust_contrast", image);
  const float* x = image.address<float>();
  std::vector<float> lows(size_t(divide_up(image.numel(), kGrain))), highs(lows.size());
  for_each_piece(image, [&](int64_t first, int64_t last) {
    const auto [low, high] = std::minmax_element(x + first, x + last);
    lows[size_t(first / kGrain)] = *low;
    highs[size_t(first / kGrain)] = *high;
  });
  const float low = *std::min_element(lows.begin(), lows.end());
  const float range = *std::max_element(highs.begin(), highs.end()) - low;
  const float share = 1 / (range + 1e-7f);
  const auto power = float(gamma);
  Tensor result = empty_like(image);
  float* y = result.address<float>();
  for_each_piece(image, [=](int64_t first, int64_t last) {
    for (int64_t v = first; v < last; ++v) y[v] = std::pow((x[v] - low) * share, power) * range + low;
  });
  return result;
}

void augment(Tensor& image, Tensor& masks, const AugmentationSettings& settings, uint64_t seed, uint64_t step,
             uint32_t item) {
  const auto when = [&](Purpose purpose, double prob, auto&& body) {
    KeyedRandom random(seed, step, item, purpose);
    if (random.uniform() < prob) body(random);
  };
  when(Purpose::zoom, settings.zoom_prob, [&](KeyedRandom& random) {
    const double factor = random.uniform(settings.zoom[0], settings.zoom[1]);
    image = zoom_image(image, factor);
    masks = zoom_masks(masks, factor);
  });
  when(Purpose::noise, settings.noise_prob, [&](KeyedRandom& random) {
    const double deviation = random.uniform(0, settings.noise_deviation);
    image = add_noise(image, normal_field(image.shape, {seed, step, item, Purpose::noise_field}), deviation);
  });
  when(Purpose::sharpen, settings.sharpen_prob,
       [&](KeyedRandom& random) { image = sharpen(image, draw_sharpening([&] { return random.uniform(); })); });
  when(Purpose::scale, settings.scale_prob, [&](KeyedRandom& random) {
    image = scale_intensity(image, random.uniform(settings.scale[0], settings.scale[1]));
  });
  const auto contrast = [&](const AugmentationSettings::Range& gamma) {
    return [&](KeyedRandom& random) { image = adjust_contrast(image, random.uniform(gamma[0], gamma[1])); };
  };
  when(Purpose::contrast, settings.contrast_prob, contrast(settings.gamma));
  when(Purpose::second_contrast, settings.second_contrast_prob, contrast(settings.second_gamma));
}

}  // namespace sat
