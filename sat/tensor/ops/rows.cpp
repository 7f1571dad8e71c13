// Views, rows and elements: what moves or adds numbers.
#include <algorithm>

#include "sat/tensor/ops/check.h"

namespace sat {

namespace {

/// A row-major array seen as [outer, rows, inner] around one axis; `inner` in bytes.
struct Rows {
  int64_t outer = 1, rows, inner;
  Rows(const Tensor& x, int axis) : rows(x.shape[axis]), inner(size_of(x.dtype)) {
    for (int a = 0; a < axis; ++a) outer *= x.shape[a];
    for (int a = axis + 1; a < x.shape.rank(); ++a) inner *= x.shape[a];
  }
  int64_t pitch() const { return rows * inner; }
};

char* bytes_of(Tensor& x) { return static_cast<char*>(x.raw()); }
const char* bytes_of(const Tensor& x) { return static_cast<const char*>(x.raw()); }

void check_axis(const char* op, const Tensor& x, int axis) {
  SAT_CHECK(axis >= 0 && axis < x.shape.rank(), op, ": a tensor of shape ", x.shape, " has no axis ", axis);
}

/// Throws Error where b's axes are not a's last ones.
void check_trailing(const char* op, const Tensor& a, const Tensor& b) {
  const int skipped = a.shape.rank() - b.shape.rank();
  bool fits = skipped >= 0;
  for (int axis = 0; fits && axis < b.shape.rank(); ++axis) fits = a.shape[axis + skipped] == b.shape[axis];
  SAT_CHECK(fits, op, ": shapes ", a.shape, " and ", b.shape, " do not fit");
  check_f32(op, {&a, &b});
}

}  // namespace

Tensor to_compute_device(const Tensor& x) {
  Tensor y = x.to(Context::current().compute_device());
  if (y.device == x.device) return y;
  if (Tape* tape = following({&x})) tape->record("to_compute_device", y, same_elements_gradient(x));
  return y;
}

Tensor to_host(const Tensor& x) {
  Tensor y = x.to(Device::cpu);
  if (y.device == x.device) return y;
  if (Tape* tape = following({&x})) tape->record("to_host", y, same_elements_gradient(x));
  return y;
}

Tensor reshape(const Tensor& x, const Shape& shape) {
  Tensor y = x.reshape(shape);
  if (Tape* tape = following({&x})) tape->record("reshape", y, same_elements_gradient(x));
  return y;
}

Tensor slice(const Tensor& x, int64_t first, int64_t last) {
  Tensor y = x.slice(first, last);
  if (Tape* tape = following({&x})) tape->record("slice", y, slice_gradient(x, first));
  return y;
}

Tensor select(const Tensor& x, int64_t index) {
  Tensor y = x.select(index);
  if (Tape* tape = following({&x})) tape->record("select", y, slice_gradient(x, index));
  return y;
}

Features slice(const Features& x, int64_t first, int64_t last) {
  if (x.center.empty()) return {slice(x.values, first, last)};
  Features some{slice(x.values, first, last),
                x.center.slice(first, last),
                x.factor.slice(first, last),
                x.shift.slice(first, last),
                x.slope,
                {}};
  if (!x.rstd.empty()) some.rstd = x.rstd.slice(first, last);
  return some;
}

void copy_into(Tensor& to, int64_t first, const Tensor& from) {
  SAT_CHECK(from.shape.rank() > 0, "copy_into: a scalar has no rows");
  refuse_history("copy_into", {&to, &from});
  Tensor part = to.slice(first, first + from.shape[0]);
  copy(part, from);
}

void copy_rows(Tensor& to, int axis, int64_t to_first, const Tensor& from, int64_t first, int64_t last) {
  check_axis("copy_rows", from, axis);
  refuse_history("copy_rows", {&to, &from});
  SAT_CHECK(to.dtype == from.dtype && to.shape.with(axis, 0) == from.shape.with(axis, 0), "copy_rows: ", from.dtype,
            " ", from.shape, " to ", to.dtype, " ", to.shape, " along axis ", axis);
  SAT_CHECK(0 <= first && first <= last && last <= from.shape[axis] && 0 <= to_first &&
                to_first + last - first <= to.shape[axis],
            "copy_rows: rows [", first, ", ", last, ") of ", from.shape, " to row ", to_first, " of ", to.shape);
  const bool within = to.buffer == from.buffer;
  SAT_CHECK(!within || to_first <= first, "copy_rows: rows of one tensor move forwards alone");
  const Rows source(from, axis), target(to, axis);
  Runtime& runtime = backend_of("copy_rows", {&to, &from}).runtime();
  const int64_t at_once = within ? first - to_first : last - first;  // runs that do not overlap
  for (int64_t row = first; row < last && at_once > 0; row += at_once) {
    runtime.copy_runs(bytes_of(to) + (to_first + row - first) * target.inner, target.pitch(),
                      bytes_of(from) + row * source.inner, source.pitch(), std::min(at_once, last - row) * source.inner,
                      source.outer);
  }
}

void zero_rows(Tensor& x, int axis, int64_t first, int64_t last) {
  check_axis("zero_rows", x, axis);
  refuse_history("zero_rows", {&x});
  SAT_CHECK(0 <= first && first <= last && last <= x.shape[axis], "zero_rows: rows [", first, ", ", last, ") of ",
            x.shape);
  const Rows rows(x, axis);
  backend_of("zero_rows", {&x})
      .runtime()
      .zero_runs(bytes_of(x) + first * rows.inner, rows.pitch(), (last - first) * rows.inner, rows.outer);
}

Tensor gather_rows(const Tensor& table, const std::vector<int64_t>& ids) {
  SAT_CHECK(table.shape.rank() == 2, "gather_rows: table ", table.shape, ", needs [V, C]");
  for (int64_t id : ids) {
    SAT_CHECK(id >= -1 && id < table.shape[0], "gather_rows: id ", id, " in a table of ", table.shape[0], " rows");
  }
  check_f32("gather_rows", {&table});
  Backend& backend = backend_of("gather_rows", {&table});
  profile::Range range("gather_rows", table.shape);
  Tensor rows({int64_t(ids.size()), table.shape[1]}, DType::f32, table.device);
  backend.gather_rows(rows, table, ids);
  if (Tape* tape = following({&table})) tape->record("gather_rows", rows, gather_gradient(table, ids));
  return rows;
}

Tensor mean_of_rows(const Tensor& x, const std::vector<int64_t>& first, const std::vector<uint8_t>& counted) {
  SAT_CHECK(x.shape.rank() == 2 && int64_t(counted.size()) == x.shape[0] && !first.empty() && first.front() == 0 &&
                first.back() == x.shape[0] && std::is_sorted(first.begin(), first.end()),
            "mean_of_rows: x has shape ", x.shape, ", with ", counted.size(), " flags and runs that do not cover it");
  check_f32("mean_of_rows", {&x});
  Backend& backend = backend_of("mean_of_rows", {&x});
  profile::Range range("mean_of_rows", x.shape);
  Tensor means({int64_t(first.size()) - 1, x.shape[1]}, DType::f32, x.device);
  backend.mean_of_rows(means, x, first, counted);
  if (Tape* tape = following({&x})) tape->record("mean_of_rows", means, mean_of_rows_gradient(x, first, counted));
  return means;
}

Tensor add(const Tensor& a, const Tensor& b) {
  check_trailing("add", a, b);
  Backend& backend = backend_of("add", {&a, &b});
  profile::Range range("add", a.shape);
  Tensor sum = empty_like(a);
  backend.add(sum, a, b);
  if (Tape* tape = following({&a, &b})) tape->record("add", sum, add_gradient(a, b));
  return sum;
}

Tensor multiply(const Tensor& a, const Tensor& b) {
  check_trailing("multiply", a, b);
  Backend& backend = backend_of("multiply", {&a, &b});
  profile::Range range("multiply", a.shape);
  Tensor product = empty_like(a);
  backend.multiply(product, a, b);
  if (Tape* tape = following({&a, &b})) tape->record("multiply", product, multiply_gradient(a, b));
  return product;
}

Tensor dropout(const Tensor& x, const Dropout& dropped) {
  check_dropout("dropout", dropped);
  if (dropped.rate == 0) return x;
  check_f32("dropout", {&x});
  Backend& backend = backend_of("dropout", {&x});
  profile::Range range("dropout", x.shape);
  Tensor y = empty_like(x);
  backend.dropout(y, x, dropped);
  if (Tape* tape = following({&x})) tape->record("dropout", y, dropout_gradient(x, dropped));
  return y;
}

Tensor transpose(const Tensor& x) {
  SAT_CHECK(x.shape.rank() >= 2, "transpose: x has shape ", x.shape, ", needs [..., R, C]");
  check_f32("transpose", {&x});
  Backend& backend = backend_of("transpose", {&x});
  profile::Range range("transpose", x.shape);
  const int64_t rows = x.shape[-2], columns = x.shape[-1], matrices = x.numel() / std::max<int64_t>(1, rows * columns);
  Tensor y({matrices, columns, rows}, DType::f32, x.device);
  backend.transpose(y, x.reshape({matrices, rows, columns}));
  y = y.reshape(x.shape.with(-2, columns).with(-1, rows));
  if (Tape* tape = following({&x})) tape->record("transpose", y, transpose_gradient(x));
  return y;
}

Tensor concat_channels(const std::vector<Tensor>& parts) {
  SAT_CHECK(!parts.empty(), "concat_channels: nothing to join");
  int64_t channels = 0;
  for (const Tensor& part : parts) {
    SAT_CHECK(part.shape.rank() >= 1 && part.shape.with(-1, 0) == parts[0].shape.with(-1, 0),
              "concat_channels: shapes ", parts[0].shape, " and ", part.shape, " do not fit");
    channels += part.shape[-1];
  }
  Tensor joined(parts[0].shape.with(-1, channels), parts[0].dtype, parts[0].device);
  Tape* tape = nullptr;
  for (const Tensor& part : parts) tape = tape ? tape : following({&part});
  RecordOn nothing(nullptr);
  const int axis = joined.shape.rank() - 1;
  int64_t first = 0;
  for (const Tensor& part : parts) {
    copy_rows(joined, axis, first, part, 0, part.shape[-1]);
    first += part.shape[-1];
  }
  if (tape) tape->record("concat_channels", joined, concat_gradient(parts));
  return joined;
}

}  // namespace sat
