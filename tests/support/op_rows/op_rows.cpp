// Running rows, and what their definitions share.
#include "tests/support/op_rows/op_rows.h"

#include <cmath>

namespace sat::test {

namespace {

Tensor as_bytes(const Tensor& x) {
  Tensor bytes(x.shape, DType::u8);
  for (int64_t i = 0; i < x.numel(); ++i) bytes.data<uint8_t>()[i] = uint8_t(x.data<float>()[i]);
  return bytes;
}

}  // namespace

Doubles::Doubles(const Tensor& x) : Doubles(x.shape) {
  for (int64_t i = 0; i < numel(); ++i) {
    (*this)[i] = x.dtype == DType::u8    ? double(x.data<uint8_t>()[i])
                 : x.dtype == DType::f16 ? double(to_float(x.data<f16>()[i]))
                                         : double(x.data<float>()[i]);
  }
}

Tensor Doubles::rounded() const { return from_values(shape, std::vector<float>(values.begin(), values.end())); }

void set_from(std::vector<OpRow>& rows, size_t first, Gradient gradient) {
  for (size_t i = first; i < rows.size(); ++i) rows[i].gradient = gradient;
}

const std::vector<OpRow>& op_rows() {
  static const std::vector<OpRow> all = [] {
    std::vector<OpRow> rows;
    add_matrix_rows(rows);
    add_attention_rows(rows);
    add_row_rows(rows);
    add_conv_rows(rows);
    add_block_rows(rows);
    add_image_rows(rows);
    add_sequence_rows(rows);
    add_score_rows(rows);
    add_training_rows(rows);
    add_chain_rows(rows);
    return rows;
  }();
  return all;
}

Tensors inputs_of(const OpRow& row) {
  Tensors inputs;
  for (const OpInput& input : row.inputs) {
    const Tensor x = field(input.name, input.shape, input.scale, input.offset);
    inputs.push_back(input.dtype == DType::u8 ? as_bytes(x) : x.cast(input.dtype));
  }
  return inputs;
}

Tensor defined_by(const OpRow& row) {
  const Tensors inputs = inputs_of(row);
  return row.defined(Arrays(inputs.begin(), inputs.end())).rounded();
}

Tensor computed_by(const OpRow& row, const Tensors& inputs) {
  Tensors there;
  for (size_t i = 0; i < inputs.size(); ++i) {
    there.push_back(row.inputs[i].published ? inputs[i] : to_compute_device(inputs[i]));
  }
  return to_host(row.run(there));
}

std::vector<std::string> row_complaints(Context& context, double slack) {
  UseContext use(context);
  std::vector<std::string> complaints;
  for (const OpRow& row : op_rows()) {
    const bool on_device = context.compute_device() != Device::cpu;
    if (row.on_cpu_alone && on_device) continue;
    const Tolerance allowed = on_device ? row.on_device.value_or(row.tolerance) : row.tolerance;
    const Tolerance tolerance{allowed.relative * slack, allowed.absolute * slack};
    std::string off;
    try {
      off = mismatch(computed_by(row, inputs_of(row)), defined_by(row), tolerance);
    } catch (const Error& error) {
      off = words("refused: ", error.what());
    }
    if (!off.empty()) complaints.push_back(row.name + ": " + off);
  }
  return complaints;
}

Doubles taken(const Doubles& values, const Doubles& center, const Doubles& factor, const Doubles& shift, double slope) {
  Doubles y(values.shape);
  const int64_t channels = values.shape[4], sample = values.numel() / values.shape[0];
  for (int64_t i = 0; i < y.numel(); ++i) {
    const int64_t n = i / sample * channels + i % channels;
    const double v = (values[i] - center[n]) * factor[n] + shift[n];
    y[i] = v < 0 ? slope * v : v;
  }
  return y;
}

Doubles convolved(const Doubles& x, const Doubles& weight, const Conv3dOptions& options) {
  const int64_t in = x.shape[4], out = weight.shape[0], kw = weight.shape[3], kd = weight.shape[4];
  const int64_t all = weight.shape[2] * kw * kd;
  Shape shape = x.shape.with(4, out);
  for (int axis = 1; axis < 4; ++axis) {
    const auto a = size_t(axis - 1);
    shape[axis] = (x.shape[axis] + 2 * options.padding[a] - weight.shape[axis + 1]) / options.stride[a] + 1;
  }
  std::vector<double> taps(weight.values.size());  // [tap, in, out]
  for (int64_t i = 0; i < weight.numel(); ++i) {
    taps[size_t((i % all * in + i / all % in) * out + i / all / in)] = weight[i];
  }
  Doubles y(shape);
  for (int64_t voxel = 0; voxel < y.numel() / out; ++voxel) {
    const int64_t od = voxel % shape[3], ow = voxel / shape[3] % shape[2], oh = voxel / shape[3] / shape[2] % shape[1];
    const int64_t b = voxel / shape[3] / shape[2] / shape[1];
    for (int64_t tap = 0; tap < all; ++tap) {
      const int64_t h = oh * options.stride[0] + tap / kd / kw - options.padding[0];
      const int64_t w = ow * options.stride[1] + tap / kd % kw - options.padding[1];
      const int64_t d = od * options.stride[2] + tap % kd - options.padding[2];
      if (h < 0 || w < 0 || d < 0 || h >= x.shape[1] || w >= x.shape[2] || d >= x.shape[3]) continue;
      const int64_t from = ((b * x.shape[1] + h) * x.shape[2] + w) * x.shape[3] + d;
      for (int64_t c = 0; c < in; ++c) {
        const double value = x[from * in + c];
        const double* row = &taps[size_t((tap * in + c) * out)];
        for (int64_t o = 0; o < out; ++o) y[voxel * out + o] += value * row[o];
      }
    }
  }
  return y;
}

Doubles up_sampled(const Doubles& x, const Doubles& weight, const Doubles& bias) {
  const Shape& from = x.shape;
  const int64_t in = from[4], out = weight.shape[1];
  Doubles y(Shape({from[0], 2 * from[1], 2 * from[2], 2 * from[3], out}));
  for (int64_t i = 0; i < y.numel(); ++i) {
    const int64_t o = i % out, d = i / out % y.shape[3], w = i / out / y.shape[3] % y.shape[2];
    const int64_t bh = i / out / y.shape[3] / y.shape[2];  // samples and rows double alike
    const int64_t voxel = (bh / 2 * from[2] + w / 2) * from[3] + d / 2;
    y[i] = bias[o];
    for (int64_t c = 0; c < in; ++c) {
      y[i] += x[voxel * in + c] * weight[(c * out + o) * 8 + bh % 2 * 4 + w % 2 * 2 + d % 2];
    }
  }
  return y;
}

Doubles normed(const Doubles& x, const Doubles& gain, const Doubles& bias, double eps, double slope) {
  const int64_t channels = x.shape[4], voxels = x.shape[1] * x.shape[2] * x.shape[3];
  Doubles y(x.shape);
  for (int64_t b = 0; b < x.shape[0]; ++b) {
    for (int64_t c = 0; c < channels; ++c) {
      const auto at = [&](int64_t v) { return (b * voxels + v) * channels + c; };
      double mean = 0, variance = 0;
      for (int64_t v = 0; v < voxels; ++v) mean += x[at(v)] / double(voxels);
      for (int64_t v = 0; v < voxels; ++v) variance += (x[at(v)] - mean) * (x[at(v)] - mean) / double(voxels);
      for (int64_t v = 0; v < voxels; ++v) {
        const double n = (x[at(v)] - mean) / std::sqrt(variance + eps) * gain[c] + bias[c];
        y[at(v)] = n < 0 ? slope * n : n;
      }
    }
  }
  return y;
}

Doubles joined(const Doubles& a, const Doubles& b) {
  const int64_t left = a.shape[-1], right = b.shape[-1], all = left + right;
  Doubles y(a.shape.with(-1, all));
  for (int64_t i = 0; i < y.numel(); ++i) {
    const int64_t c = i % all;
    y[i] = c < left ? a[i / all * left + c] : b[i / all * right + c - left];
  }
  return y;
}

}  // namespace sat::test
