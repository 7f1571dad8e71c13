// Cosines by group, and principal components from the rows' products.
#include "sat/nn/train/knowledge/monitoring/name_groups.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "sat/io/files/file.h"
#include "sat/io/words/json.h"
#include "sat/io/words/text.h"

namespace sat {

namespace {

constexpr int64_t kLargestFile = int64_t(16) << 20;
constexpr size_t kMostNames = 4096;  // whose products are held together
constexpr int kIterations = 500;     // of the power method

using Row = std::vector<double>;

double product(const Row& a, const Row& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

void scale_to_one(Row& row) {
  const double length = std::sqrt(product(row, row));
  for (double& x : row) x = length > 0 ? x / length : 0;
}

std::vector<Row> rows_of(const Tensor& x) {
  std::vector<Row> rows;
  for (int64_t r = 0; r < x.shape[0]; ++r) {
    const float* from = x.data<float>() + r * x.shape[1];
    rows.emplace_back(from, from + x.shape[1]);
  }
  return rows;
}

struct Mean {
  double sum = 0;
  int64_t count = 0;
  void add(double x) { sum += x, ++count; }
  double value() const { return count > 0 ? sum / double(count) : 0; }
};

/// The eigenvector of the largest eigenvalue of a symmetric matrix, times its root: coordinates along a component.
/// `except`: one that it is orthogonal to.
Row component(const std::vector<Row>& matrix, const Row* except) {
  Row v(matrix.size());
  for (size_t i = 0; i < v.size(); ++i) v[i] = std::cos(double(i) + (except ? 1 : 0));  // in no special direction
  double value = 0;
  for (int round = 0; round < kIterations; ++round) {
    if (except) {
      const double along = product(v, *except) / std::max(1e-300, product(*except, *except));
      for (size_t i = 0; i < v.size(); ++i) v[i] -= along * (*except)[i];
    }
    scale_to_one(v);
    Row next(v.size());
    for (size_t i = 0; i < v.size(); ++i) next[i] = product(matrix[i], v);
    value = product(next, v);
    v = std::move(next);
  }
  scale_to_one(v);
  double farthest = 0;
  for (double x : v) farthest = std::fabs(x) > std::fabs(farthest) ? x : farthest;
  for (double& x : v) x *= std::sqrt(std::max(0.0, value)) * (farthest < 0 ? -1 : 1);
  return v;
}

}  // namespace

std::vector<NameGroup> read_name_groups(const std::string& path) {
  const Json json = Json::parse(read_file(path, kLargestFile), path);
  std::vector<NameGroup> groups;
  size_t names = 0;
  for (const auto& [name, about] : json.members()) {
    try {
      groups.push_back({name, about["learnt"].strings(), about["held_out"].strings()});
    } catch (const Error& error) {
      fail(path, ": ", quoted(name), ": ", error.what());
    }
    names += 1 + groups.back().learnt.size() + groups.back().held_out.size();
  }
  SAT_CHECK(groups.size() >= 2 && names <= kMostNames, path, ": ", groups.size(), " groups of ", names,
            " names; needs at least two, and at most ", kMostNames, " names");
  return groups;
}

std::vector<std::string> names_of(const std::vector<NameGroup>& groups) {
  std::vector<std::string> names;
  for (const NameGroup& group : groups) {
    names.push_back(group.name);
    names.insert(names.end(), group.learnt.begin(), group.learnt.end());
    names.insert(names.end(), group.held_out.begin(), group.held_out.end());
  }
  return names;
}

NameSimilarity similarity_of(const std::vector<NameGroup>& groups, const Tensor& x) {
  std::vector<Row> rows = rows_of(x);
  SAT_CHECK(rows.size() == names_of(groups).size(), "name groups: ", rows.size(), " rows for ", names_of(groups).size(),
            " names");
  for (Row& row : rows) scale_to_one(row);
  std::vector<size_t> group_of, firsts;
  for (size_t g = 0; g < groups.size(); ++g) {
    firsts.push_back(group_of.size());
    group_of.insert(group_of.end(), 1 + groups[g].learnt.size() + groups[g].held_out.size(), g);
  }
  Mean learnt, held_out, others, nearest;
  NameSimilarity similarity;
  for (size_t g = 0; g < groups.size(); ++g) {
    const size_t first = firsts[g], known = first + 1 + groups[g].learnt.size();
    Mean own;
    for (size_t i = first; i < known; ++i) {
      for (size_t j = first; j < i; ++j) own.add(product(rows[i], rows[j]));
    }
    learnt.sum += own.sum;
    learnt.count += own.count;
    similarity.by_group.push_back(own.value());
    for (size_t i = known; i < known + groups[g].held_out.size(); ++i) {
      const double to_own = product(rows[i], rows[first]);
      held_out.add(to_own);
      nearest.add(std::all_of(firsts.begin(), firsts.end(),
                              [&](size_t name) { return name == first || product(rows[i], rows[name]) < to_own; })
                      ? 1
                      : 0);
    }
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (group_of[i] != group_of[j]) others.add(product(rows[i], rows[j]));
    }
  }
  similarity.learnt = learnt.value();
  similarity.held_out = held_out.value();
  similarity.others = others.value();
  similarity.nearest = nearest.value();
  return similarity;
}

std::vector<std::pair<double, double>> principal_plane(const Tensor& x) {
  std::vector<Row> rows = rows_of(x);
  SAT_CHECK(rows.size() >= 2 && rows.size() <= kMostNames, "principal plane of ", rows.size(), " rows, needs 2 to ",
            kMostNames);
  Row mean(rows[0].size());
  for (const Row& row : rows) {
    for (size_t i = 0; i < mean.size(); ++i) mean[i] += row[i] / double(rows.size());
  }
  for (Row& row : rows) {
    for (size_t i = 0; i < mean.size(); ++i) row[i] -= mean[i];
  }
  std::vector<Row> products(rows.size(), Row(rows.size()));
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t j = 0; j <= i; ++j) products[i][j] = products[j][i] = product(rows[i], rows[j]);
  }
  std::vector<std::pair<double, double>> points(rows.size());
  const Row first = component(products, nullptr), second = component(products, &first);
  const auto scaled = [](const Row& row, size_t i) {
    const auto [least, most] = std::minmax_element(row.begin(), row.end());
    return *most > *least ? (row[i] - *least) / (*most - *least) : 0.5;
  };
  for (size_t i = 0; i < points.size(); ++i) points[i] = {scaled(first, i), scaled(second, i)};
  return points;
}

}  // namespace sat
