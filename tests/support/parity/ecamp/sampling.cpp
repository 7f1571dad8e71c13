// Reading a sampling, and gathering what it names.
#include "tests/support/parity/ecamp/sampling.h"

#include <cstdlib>
#include <vector>

namespace sat::test {

namespace {

struct Axis {
  std::vector<int64_t> indices;
  bool kept = true;  // in the result's shape
};

Axis read_axis(const std::string& text, int64_t size) {
  Axis axis;
  if (text.find(':') == std::string::npos) {
    axis.indices = {std::atoll(text.c_str())};
    axis.kept = false;
    SAT_CHECK(axis.indices[0] >= 0 && axis.indices[0] < size, "sampling: index ", text, " of ", size);
    return axis;
  }
  std::vector<std::string> parts{""};  // first, last, step
  for (char c : text) {
    if (c == ':') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  const auto part = [&](size_t i, int64_t otherwise) {
    return i < parts.size() && !parts[i].empty() ? int64_t(std::atoll(parts[i].c_str())) : otherwise;
  };
  const int64_t last = std::min(part(1, size), size), step = part(2, 1);
  SAT_CHECK(parts.size() <= 3 && step > 0 && part(0, 0) >= 0, "sampling: '", text, "' is no slice");
  for (int64_t i = part(0, 0); i < last; i += step) axis.indices.push_back(i);
  return axis;
}

}  // namespace

Tensor sampled(const Tensor& x, const std::string& how) {
  if (how == "all") return x;
  SAT_CHECK(how.size() >= 2 && how.front() == '[' && how.back() == ']', "sampling: '", how, "' is no list of slices");
  std::vector<Axis> axes;
  std::string rest = how.substr(1, how.size() - 2) + ",";
  while (!rest.empty()) {
    SAT_CHECK(int(axes.size()) < x.shape.rank(), "sampling: ", how, " of ", x.shape);
    axes.push_back(read_axis(rest.substr(0, rest.find(',')), x.shape[int(axes.size())]));
    rest.erase(0, rest.find(',') + 1);
  }
  while (int(axes.size()) < x.shape.rank()) axes.push_back(read_axis(":", x.shape[int(axes.size())]));
  std::vector<int64_t> sizes, offsets{0};
  for (size_t a = 0; a < axes.size(); ++a) {
    std::vector<int64_t> next;
    for (int64_t offset : offsets) {
      for (int64_t index : axes[a].indices) next.push_back(offset * x.shape[int(a)] + index);
    }
    offsets = std::move(next);
    if (axes[a].kept) sizes.push_back(int64_t(axes[a].indices.size()));
  }
  Tensor some{Shape(sizes)};
  for (size_t i = 0; i < offsets.size(); ++i) some.data<float>()[i] = x.data<float>()[offsets[i]];
  return some;
}

}  // namespace sat::test
