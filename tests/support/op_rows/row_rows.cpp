// Rows of what moves rows: tables, means, joins, copies, zeros and slices.
#include "sat/tensor/ops.h"
#include "tests/support/op_rows/op_rows.h"

namespace sat::test {

namespace {

/// [outer, rows, inner] of an array around an axis.
struct Around {
  int64_t outer = 1, rows, inner = 1;
  Around(const Shape& shape, int axis) : rows(shape[axis]) {
    for (int a = 0; a < axis; ++a) outer *= shape[a];
    for (int a = axis + 1; a < shape.rank(); ++a) inner *= shape[a];
  }
};

/// `to` with its rows from `to_first` on = rows [first, last) of `from`.
Doubles with_rows(const Doubles& to, int axis, int64_t to_first, const Doubles& from, int64_t first, int64_t last) {
  const Around target(to.shape, axis), source(from.shape, axis);
  Doubles y = to;
  for (int64_t o = 0; o < target.outer; ++o) {
    for (int64_t i = 0; i < (last - first) * target.inner; ++i) {
      y[(o * target.rows + to_first) * target.inner + i] = from[(o * source.rows + first) * source.inner + i];
    }
  }
  return y;
}

void add_copy_rows(std::vector<OpRow>& rows) {
  const Shape to{3, 5, 7, 2};
  for (int axis = 0; axis < 4; ++axis) {
    const Shape other = to.with(axis, to[axis] - 1);
    rows.push_back({words("copy_rows along axis ", axis),
                    {{"to", to}, {"from", other}},
                    [=](const Tensors& i) {
                      Tensor y = i[0].clone();
                      copy_rows(y, axis, 1, i[1], 0, other[axis]);
                      return y;
                    },
                    [=](const Arrays& i) { return with_rows(i[0], axis, 1, i[1], 0, other[axis]); }});
    rows.back().gradient = Gradient::refused;
    rows.push_back({words("copy_rows within one tensor along axis ", axis),
                    {{"to", to}},
                    [=](const Tensors& i) {
                      Tensor y = i[0].clone();
                      copy_rows(y, axis, 0, y, 1, to[axis]);
                      return y;
                    },
                    [=](const Arrays& i) { return with_rows(i[0], axis, 0, i[0], 1, to[axis]); }});
    rows.back().gradient = Gradient::elsewhere;  // nothing leads through a clone
    rows.push_back({words("zero_rows along axis ", axis),
                    {{"x", to}},
                    [=](const Tensors& i) {
                      Tensor y = i[0].clone();
                      zero_rows(y, axis, 1, to[axis]);
                      return y;
                    },
                    [=](const Arrays& i) { return with_rows(i[0], axis, 1, Doubles(to), 1, to[axis]); }});
    rows.back().gradient = Gradient::elsewhere;
  }
  rows.push_back({"copy_into",
                  {{"to", {6, 3, 5}}, {"from", {2, 3, 5}}},
                  [](const Tensors& i) {
                    Tensor y = i[0].clone();
                    copy_into(y, 3, i[1]);
                    return y;
                  },
                  [](const Arrays& i) { return with_rows(i[0], 0, 3, i[1], 0, 2); }});
  rows.back().gradient = Gradient::refused;
}

void add_table_rows(std::vector<OpRow>& rows) {
  const std::vector<int64_t> ids = {5, 0, -1, 5, 12, -1, 1};
  rows.push_back({"gather_rows, with rows of zeros",
                  {{"table", {13, 33}}},
                  [=](const Tensors& i) { return gather_rows(i[0], ids); },
                  [=](const Arrays& i) {
                    Doubles y(Shape({int64_t(ids.size()), 33}));
                    for (int64_t at = 0; at < y.numel(); ++at) {
                      const int64_t id = ids[size_t(at / 33)];
                      if (id >= 0) y[at] = i[0][id * 33 + at % 33];
                    }
                    return y;
                  }});
  const std::vector<int64_t> first = {0, 1, 1, 20, 23, 40};
  std::vector<uint8_t> counted;
  for (int64_t r = 0; r < first.back(); ++r) counted.push_back(r % 3 != 1 && (r < 20 || r >= 23));
  rows.push_back({"mean_of_rows, with an empty run and one of which none counts",
                  {{"x", {first.back(), 19}}},
                  [=](const Tensors& i) { return mean_of_rows(i[0], first, counted); },
                  [=](const Arrays& i) {
                    Doubles y(Shape({int64_t(first.size()) - 1, 19}));
                    for (int64_t at = 0; at < y.numel(); ++at) {
                      double count = 0;
                      for (int64_t r = first[size_t(at / 19)]; r < first[size_t(at / 19) + 1]; ++r) {
                        if (counted[size_t(r)] == 0) continue;
                        y[at] += i[0][r * 19 + at % 19];
                        ++count;
                      }
                      if (count > 0) y[at] /= count;
                    }
                    return y;
                  },
                  {1e-7, 0}});
}

void add_view_rows(std::vector<OpRow>& rows) {
  rows.push_back({"concat_channels",
                  {{"a", {2, 3, 5}}, {"b", {2, 3, 1}}, {"c", {2, 3, 17}}},
                  [](const Tensors& i) { return concat_channels(i); },
                  [](const Arrays& i) { return joined(joined(i[0], i[1]), i[2]); }});
  rows.push_back(
      {"slice of features",
       {{"values", {3, 2, 3, 4, 5}}, {"center", {3, 5}, 0.2}, {"factor", {3, 5}, 0.5, 1}, {"shift", {3, 5}, 0.5}},
       [](const Tensors& i) {
         return materialize(slice(Features{i[0], i[1], i[2], i[3], 0.01f}, 1, 3));
       },
       [](const Arrays& i) {
         const Doubles all = taken(i[0], i[1], i[2], i[3], double(0.01f));
         Doubles y(Shape({2, 2, 3, 4, 5}));
         std::copy(all.values.begin() + all.numel() / 3, all.values.end(), y.values.begin());
         return y;
       },
       {1e-6, 1e-6}});
  rows.back().gradient = Gradient::elsewhere;
  for (const DType dtype : {DType::f32, DType::f16}) {
    rows.push_back({words("materialize ", dtype),
                    {{"values", {2, 3, 17, 4, 21}, 1, 0, dtype},
                     {"center", {2, 21}, 0.2},
                     {"factor", {2, 21}, 0.5, 1},
                     {"shift", {2, 21}, 0.5}},
                    [](const Tensors& i) {
                      return materialize({i[0], i[1], i[2], i[3], 0.01f});
                    },
                    [](const Arrays& i) { return taken(i[0], i[1], i[2], i[3], double(0.01f)); },
                    {1e-6, 1e-6}});
    rows.back().gradient = Gradient::elsewhere;
  }
}

}  // namespace

void add_row_rows(std::vector<OpRow>& rows) {
  add_copy_rows(rows);
  add_table_rows(rows);
  add_view_rows(rows);
}

}  // namespace sat::test
