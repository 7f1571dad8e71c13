// The definitions, step by step: every loop is written out, nothing is clever.
#include "tests/support/definitions/backbone_definitions.h"

#include <algorithm>
#include <cmath>

namespace sat::test {

namespace {

constexpr double kEps = 1e-5, kSlope = 0.01;

/// The tensors below a name.
struct Tree {
  const NamedTensors& tensors;
  std::string prefix;

  Tree operator/(const std::string& step) const { return {tensors, prefix.empty() ? step : prefix + "." + step}; }
  Tree operator/(int64_t step) const { return *this / std::to_string(step); }
  bool has(const std::string& name) const { return tensors.count((*this / name).prefix) > 0; }
  const Tensor& get(const std::string& name) const { return tensors.at((*this / name).prefix); }
  /// Element i of a tensor, or `otherwise` where there is no such tensor.
  double value(const std::string& name, int64_t i, double otherwise = 0) const {
    return has(name) ? double(get(name).data<float>()[i]) : otherwise;
  }
};

template <class Body>
void for_each_voxel(const std::array<int64_t, 3>& size, const Body& body) {
  for (int64_t h = 0; h < size[0]; ++h) {
    for (int64_t w = 0; w < size[1]; ++w) {
      for (int64_t d = 0; d < size[2]; ++d) body(h, w, d);
    }
  }
}

double leaky(double x) { return x < 0 ? kSlope * x : x; }
double silu(double x) { return x / (1 + std::exp(-x)); }
double gelu(double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.))); }

DoubleVolume volume_of(const Tensor& image) {
  DoubleVolume volume({image.shape[1], image.shape[2], image.shape[3]}, image.shape[4]);
  for (int64_t i = 0; i < image.numel(); ++i) volume.values[size_t(i)] = double(image.data<float>()[i]);
  return volume;
}

/// Cross-correlation; w.weight [out, in, k, k, k] and, where it is there, w.bias.
DoubleVolume conv(const DoubleVolume& x, const Tree& w, int64_t stride, int64_t padding) {
  const Shape& kernel = w.get("weight").shape;
  const float* weight = w.get("weight").data<float>();
  const int64_t k = kernel[2], in = kernel[1];
  DoubleVolume y({}, kernel[0]);
  for (size_t a = 0; a < 3; ++a) y.size[a] = (x.size[a] + 2 * padding - k) / stride + 1;
  y = DoubleVolume(y.size, kernel[0]);
  for_each_voxel(y.size, [&](int64_t h, int64_t w0, int64_t d) {
    for (int64_t o = 0; o < y.channels; ++o) {
      double sum = w.value("bias", o);
      for_each_voxel({k, k, k}, [&](int64_t a, int64_t b, int64_t c) {
        const int64_t i = h * stride + a - padding, j = w0 * stride + b - padding, l = d * stride + c - padding;
        if (i < 0 || j < 0 || l < 0 || i >= x.size[0] || j >= x.size[1] || l >= x.size[2]) return;
        for (int64_t n = 0; n < in; ++n) {
          sum += x.at(i, j, l, n) * double(weight[((o * in + n) * k + a) * k * k + b * k + c]);
        }
      });
      y.at(h, w0, d, o) = sum;
    }
  });
  return y;
}

DoubleVolume conv_transpose(const DoubleVolume& x, const Tree& w) {
  const Shape& kernel = w.get("weight").shape;
  const float* weight = w.get("weight").data<float>();
  DoubleVolume y({2 * x.size[0], 2 * x.size[1], 2 * x.size[2]}, kernel[1]);
  for_each_voxel(y.size, [&](int64_t h, int64_t w0, int64_t d) {
    for (int64_t o = 0; o < y.channels; ++o) {
      double sum = w.value("bias", o);
      for (int64_t n = 0; n < x.channels; ++n) {
        sum +=
            x.at(h / 2, w0 / 2, d / 2, n) * double(weight[(n * y.channels + o) * 8 + h % 2 * 4 + w0 % 2 * 2 + d % 2]);
      }
      y.at(h, w0, d, o) = sum;
    }
  });
  return y;
}

DoubleVolume instance_norm(DoubleVolume x, const Tree& w) {
  for (int64_t c = 0; c < x.channels; ++c) {
    double mean = 0, variance = 0;
    for (int64_t v = 0; v < x.voxels(); ++v) mean += x.values[size_t(v * x.channels + c)] / double(x.voxels());
    for (int64_t v = 0; v < x.voxels(); ++v) {
      variance += std::pow(x.values[size_t(v * x.channels + c)] - mean, 2) / double(x.voxels());
    }
    for (int64_t v = 0; v < x.voxels(); ++v) {
      double& value = x.values[size_t(v * x.channels + c)];
      value = (value - mean) / std::sqrt(variance + kEps) * w.value("norm.weight", c, 1) + w.value("norm.bias", c);
    }
  }
  return x;
}

DoubleVolume leaky_relu(DoubleVolume x) {
  for (double& value : x.values) value = leaky(value);
  return x;
}

DoubleVolume sum(DoubleVolume x, const DoubleVolume& y) {
  for (size_t i = 0; i < x.values.size(); ++i) x.values[i] += y.values[i];
  return x;
}

DoubleVolume joined(const DoubleVolume& x, const DoubleVolume& y) {
  DoubleVolume both(x.size, x.channels + y.channels);
  for (int64_t v = 0; v < x.voxels(); ++v) {
    for (int64_t c = 0; c < both.channels; ++c) {
      both.values[size_t(v * both.channels + c)] =
          c < x.channels ? x.values[size_t(v * x.channels + c)] : y.values[size_t(v * y.channels + c - x.channels)];
    }
  }
  return both;
}

DoubleVolume pooled_by_two(const DoubleVolume& x) {
  DoubleVolume y({x.size[0] / 2, x.size[1] / 2, x.size[2] / 2}, x.channels);
  for_each_voxel(x.size, [&](int64_t h, int64_t w, int64_t d) {
    for (int64_t c = 0; c < x.channels; ++c) y.at(h / 2, w / 2, d / 2, c) += x.at(h, w, d, c) / 8;
  });
  return y;
}

DoubleVolume unit(const DoubleVolume& x, const Tree& w, int64_t stride, int64_t padding) {
  return instance_norm(conv(x, w / "conv", stride, padding), w);
}

DoubleVolume residual(const DoubleVolume& x, const Tree& w, const Tree& shortcut, int64_t stride) {
  const DoubleVolume main = unit(leaky_relu(unit(x, w / "conv1", stride, 1)), w / "conv2", 1, 1);
  DoubleVolume past = stride > 1 ? pooled_by_two(x) : x;
  if (shortcut.has("conv.weight")) past = unit(past, shortcut, 1, 0);
  return leaky_relu(sum(main, past));
}

/// Each voxel's channels through a dense layer w.weight, w.bias; rows [first, last) of its weight.
DoubleVolume dense(const DoubleVolume& x, const Tree& w, int64_t first = 0, int64_t last = -1) {
  const Shape& shape = w.get("weight").shape;
  if (last < 0) last = shape[0];
  DoubleVolume y(x.size, last - first);
  for (int64_t v = 0; v < x.voxels(); ++v) {
    for (int64_t o = first; o < last; ++o) {
      double total = w.value("bias", o);
      for (int64_t c = 0; c < x.channels; ++c) {
        total += x.values[size_t(v * x.channels + c)] * double(w.get("weight").data<float>()[o * x.channels + c]);
      }
      y.values[size_t(v * y.channels + o - first)] = total;
    }
  }
  return y;
}

DoubleVolume layer_norm(DoubleVolume x, const Tree& w) {
  for (int64_t v = 0; v < x.voxels(); ++v) {
    double* row = x.values.data() + v * x.channels;
    double mean = 0, variance = 0;
    for (int64_t c = 0; c < x.channels; ++c) mean += row[c] / double(x.channels);
    for (int64_t c = 0; c < x.channels; ++c) variance += std::pow(row[c] - mean, 2) / double(x.channels);
    for (int64_t c = 0; c < x.channels; ++c) {
      row[c] = (row[c] - mean) / std::sqrt(variance + kEps) * w.value("weight", c, 1) + w.value("bias", c);
    }
  }
  return x;
}

DoubleVolume mamba(const DoubleVolume& x, const Tree& w) {
  const Tree m = w / "mamba";
  const int64_t inner = m.get("D").numel(), states = m.get("A_log").shape[1], taps = m.get("conv1d.weight").shape[2];
  const int64_t rank = m.get("dt_proj.weight").shape[1];
  const DoubleVolume u = layer_norm(x, w / "norm");
  const DoubleVolume before = dense(u, m / "in_proj", 0, inner), gate = dense(u, m / "in_proj", inner, 2 * inner);
  DoubleVolume v(x.size, inner), y(x.size, inner);
  for (int64_t t = 0; t < x.voxels(); ++t) {
    for (int64_t e = 0; e < inner; ++e) {
      double total = m.value("conv1d.bias", e);
      for (int64_t k = 0; k < taps && k <= t; ++k) {
        total += m.value("conv1d.weight", e * taps + taps - 1 - k) * before.values[size_t((t - k) * inner + e)];
      }
      v.values[size_t(t * inner + e)] = silu(total);
    }
  }
  const DoubleVolume projected = dense(v, m / "x_proj");
  DoubleVolume step(x.size, rank);
  for (int64_t t = 0; t < x.voxels(); ++t) {
    std::copy_n(projected.values.data() + t * projected.channels, rank, step.values.data() + t * rank);
  }
  const DoubleVolume delta = dense(step, m / "dt_proj");
  for (int64_t e = 0; e < inner; ++e) {
    std::vector<double> state(size_t(states), 0.);
    for (int64_t t = 0; t < x.voxels(); ++t) {
      const double width = std::log1p(std::exp(delta.values[size_t(t * inner + e)]));
      const double in = v.values[size_t(t * inner + e)];
      const double* row = projected.values.data() + t * projected.channels + rank;
      double out = m.value("D", e) * in;
      for (int64_t n = 0; n < states; ++n) {
        double& h = state[size_t(n)];
        h = std::exp(-std::exp(m.value("A_log", e * states + n)) * width) * h + width * in * row[n];
        out += h * row[states + n];
      }
      y.values[size_t(t * inner + e)] = out * silu(gate.values[size_t(t * inner + e)]);
    }
  }
  return dense(y, m / "out_proj");
}

/// Attention inside the windows of a grid: pad, roll, attend in each window, roll back, crop.
DoubleVolume window_attention(const DoubleVolume& x, const Tree& w, int64_t heads, int64_t most, bool shifted) {
  std::array<int64_t, 3> window{}, shift{}, size{};
  for (size_t a = 0; a < 3; ++a) {
    window[a] = std::min(most, x.size[a]);
    shift[a] = shifted && x.size[a] > most ? most / 2 : 0;
    size[a] = (x.size[a] + window[a] - 1) / window[a] * window[a];
  }
  const int64_t channels = x.channels, width = channels / heads;
  DoubleVolume padded(size, channels), rolled(size, channels), attended(size, channels), y(x.size, channels);
  for_each_voxel(x.size, [&](int64_t h, int64_t v, int64_t d) {
    for (int64_t c = 0; c < channels; ++c) padded.at(h, v, d, c) = x.at(h, v, d, c);
  });
  const auto rolled_place = [&](int64_t i, size_t a) { return (i - shift[a] + size[a]) % size[a]; };
  for_each_voxel(size, [&](int64_t h, int64_t v, int64_t d) {
    for (int64_t c = 0; c < channels; ++c) {
      rolled.at(rolled_place(h, 0), rolled_place(v, 1), rolled_place(d, 2), c) = padded.at(h, v, d, c);
    }
  });
  const auto region = [&](int64_t place, size_t a) {
    return shift[a] == 0 || place < size[a] - window[a] ? 0 : place < size[a] - shift[a] ? 1 : 2;
  };
  const DoubleVolume qkv = dense(rolled, w / "qkv");
  const int64_t tokens = window[0] * window[1] * window[2], span = 2 * most - 1;
  for_each_voxel({size[0] / window[0], size[1] / window[1], size[2] / window[2]}, [&](int64_t i, int64_t j, int64_t k) {
    const auto place = [&](int64_t token) {
      return std::array<int64_t, 3>{i * window[0] + token / (window[1] * window[2]),
                                    j * window[1] + token / window[2] % window[1], k * window[2] + token % window[2]};
    };
    for (int64_t head = 0; head < heads; ++head) {
      for (int64_t n = 0; n < tokens; ++n) {
        const auto query = place(n);
        std::vector<double> weight(size_t(tokens), 0.);
        for (int64_t m = 0; m < tokens; ++m) {
          const auto key = place(m);
          double dot = 0;
          for (int64_t c = 0; c < width; ++c) {
            dot += qkv.at(query[0], query[1], query[2], head * width + c) *
                   qkv.at(key[0], key[1], key[2], channels + head * width + c);
          }
          // The corner of the whole window's table of indices, whatever this window's axes are.
          int64_t row = 0;
          for (const int64_t unit : {most * most, most, int64_t(1)}) {
            row = row * span + n / unit % most - m / unit % most + most - 1;
          }
          bool stranger = false;
          for (size_t a = 0; a < 3; ++a) stranger = stranger || region(query[a], a) != region(key[a], a);
          weight[size_t(m)] = dot / std::sqrt(double(width)) +
                              w.value("relative_position_bias_table", row * heads + head) - (stranger ? 100 : 0);
        }
        const double largest = *std::max_element(weight.begin(), weight.end());
        double total = 0;
        for (double& value : weight) total += value = std::exp(value - largest);
        for (int64_t m = 0; m < tokens; ++m) {
          const auto key = place(m);
          for (int64_t c = 0; c < width; ++c) {
            attended.at(query[0], query[1], query[2], head * width + c) +=
                weight[size_t(m)] / total * qkv.at(key[0], key[1], key[2], 2 * channels + head * width + c);
          }
        }
      }
    }
  });
  const DoubleVolume out = dense(attended, w / "proj");
  for_each_voxel(x.size, [&](int64_t h, int64_t v, int64_t d) {
    for (int64_t c = 0; c < channels; ++c) {
      y.at(h, v, d, c) = out.at(rolled_place(h, 0), rolled_place(v, 1), rolled_place(d, 2), c);
    }
  });
  return y;
}

DoubleVolume merged(const DoubleVolume& x, const Tree& w) {
  constexpr int kParts[8][3] = {{0, 0, 0}, {1, 0, 0}, {0, 1, 0}, {0, 0, 1}, {1, 0, 1}, {0, 1, 0}, {0, 0, 1}, {1, 1, 1}};
  DoubleVolume y({x.size[0] / 2, x.size[1] / 2, x.size[2] / 2}, 8 * x.channels);
  for_each_voxel(y.size, [&](int64_t h, int64_t v, int64_t d) {
    for (int64_t c = 0; c < y.channels; ++c) {
      const auto& part = kParts[c / x.channels];
      y.at(h, v, d, c) = x.at(2 * h + part[0], 2 * v + part[1], 2 * d + part[2], c % x.channels);
    }
  });
  return dense(layer_norm(y, w / "norm"), w / "reduction");
}

}  // namespace

DefinedOutput defined_umamba(const NamedTensors& weights, const SatConfig& config, const Tensor& image) {
  const Tree root{weights, ""}, encoder = root / "encoder", decoder = root / "decoder";
  DefinedOutput output;
  DoubleVolume x = leaky_relu(unit(volume_of(image), encoder / "stem" / "convs" / 0, 1, 1));
  for (int64_t s = 0; s < config.stages(); ++s) {
    for (int64_t j = 0; j < config.encoder_blocks[size_t(s)]; ++j) {
      const Tree block = encoder / "stages" / s / "blocks" / j;
      const bool halves = s > 0 && j == 0;
      x = residual(x, block, block / "skip" / (halves ? 1 : 0), halves ? 2 : 1);
    }
    const int64_t m = s - config.stages() + config.mamba_layers;
    if (m >= 0) x = mamba(x, encoder / "mamba_layers" / m);
    output.encoder.push_back(x);
  }
  for (int64_t d = 0; d + 1 < config.stages(); ++d) {
    x = joined(conv_transpose(x, decoder / "transpconvs" / d), output.encoder[size_t(config.stages() - 2 - d)]);
    for (int64_t j = 0; j < config.decoder_blocks[size_t(d)]; ++j) {
      const Tree block = decoder / "stages" / d / "blocks" / j;
      x = residual(x, block, block / "skip" / 0, 1);
    }
  }
  output.decoder.push_back(x);
  return output;
}

DefinedOutput defined_swin_unetr(const NamedTensors& weights, const SatConfig& config, const Tensor& image) {
  const Tree root{weights, ""}, encoder = root / "encoder", transformer = encoder / "swinViT";
  std::vector<DoubleVolume> inputs{volume_of(image)};
  DoubleVolume x = conv(inputs[0], transformer / "patch_embed" / "proj", 2, 0);
  inputs.push_back(layer_norm(x, root / "none"));
  for (size_t s = 0; s < config.swin_blocks.size(); ++s) {
    const Tree stage = transformer / ("layers" + std::to_string(s + 1)) / 0;
    for (int64_t j = 0; j < config.swin_blocks[s]; ++j) {
      const Tree block = stage / "blocks" / j;
      x = sum(x, window_attention(layer_norm(x, block / "norm1"), block / "attn", config.swin_heads[s],
                                  config.swin_window, j % 2 == 1));
      DoubleVolume hidden = dense(layer_norm(x, block / "norm2"), block / "mlp" / "linear1");
      for (double& value : hidden.values) value = gelu(value);
      x = sum(x, dense(hidden, block / "mlp" / "linear2"));
    }
    x = merged(x, stage / "downsample");
    inputs.push_back(layer_norm(x, root / "none"));
  }
  DefinedOutput output;
  for (size_t s = 0; s < inputs.size(); ++s) {
    const Tree block = encoder / ("encoder" + std::to_string(s + 1)) / "layer";
    output.encoder.push_back(residual(inputs[s], block, block / "conv3", 1));
  }
  x = output.encoder.back();
  for (size_t s = inputs.size() - 1; s-- > 0;) {
    const Tree up = root / ("decoder" + std::to_string(s + 1)), block = up / "conv_block";
    x = residual(joined(conv_transpose(x, up / "transp_conv" / "conv"), output.encoder[s]), block, block / "conv3", 1);
    output.decoder.insert(output.decoder.begin(), x);
  }
  return output;
}

}  // namespace sat::test
