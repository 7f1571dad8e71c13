// Loss and gradient over blocks of rows, whose number depends on the rows alone.
#include "sat/nn/probe/objective.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>

#include "sat/tensor/error.h"
#include "sat/tensor/parallel.h"

namespace sat {

namespace {

constexpr int64_t kBlock = 128;     // rows that are multiplied at once
constexpr int64_t kMostParts = 64;  // of the rows, each with a gradient of its own

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Rows = Eigen::Map<const Matrix>;
using Vector = Eigen::Map<const Eigen::RowVectorXd>;

double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }
double sigmoid(double x) { return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); }

}  // namespace

ClassWeights equal_weights(int64_t labels) {
  return {std::vector<double>(size_t(labels), 1), std::vector<double>(size_t(labels), 1)};
}

ClassWeights balanced_weights(const Targets& targets, const std::vector<int64_t>& rows) {
  const auto K = size_t(targets.labels);
  std::vector<int64_t> present(K), absent(K);
  int64_t known = 0;
  for (const int64_t row : rows) {
    const int8_t* states = targets.row(row);
    known += states[0] >= 0;
    for (size_t k = 0; k < K; ++k) {
      present[k] += states[k] == 1;
      absent[k] += states[k] == 0;
    }
  }
  ClassWeights weights = equal_weights(targets.labels);
  for (size_t k = 0; k < K; ++k) {
    if (present[k] == 0 || absent[k] == 0) continue;
    const double answers = targets.exclusive ? double(K) : 2;
    const double all = targets.exclusive ? double(known) : double(present[k] + absent[k]);
    weights.present[k] = all / (answers * double(present[k]));
    weights.absent[k] = all / (answers * double(absent[k]));
  }
  return weights;
}

Standardisation no_standardisation(int64_t channels) {
  return {std::vector<double>(size_t(channels), 0), std::vector<double>(size_t(channels), 1)};
}

Standardisation standardisation_of(const Tensor& features, const std::vector<int64_t>& rows) {
  const int64_t C = features.shape[1];
  Standardisation found = no_standardisation(C);
  SAT_CHECK(!rows.empty(), "means of no rows");
  const float* x = features.data<float>();
  const double count = double(rows.size());
  for (const int64_t row : rows) {
    for (int64_t c = 0; c < C; ++c) found.mean[size_t(c)] += double(x[row * C + c]) / count;
  }
  std::vector<double> variance(static_cast<size_t>(C));
  for (const int64_t row : rows) {
    for (int64_t c = 0; c < C; ++c) {
      const double from_mean = double(x[row * C + c]) - found.mean[size_t(c)];
      variance[size_t(c)] += from_mean * from_mean / count;
    }
  }
  for (size_t c = 0; c < variance.size(); ++c) {
    // What rounding leaves of a constant channel is none.
    const bool varies = variance[c] > 1e-20 * std::max(1e-20, found.mean[c] * found.mean[c]);
    found.deviation[c] = varies ? std::sqrt(variance[c]) : 1;
  }
  return found;
}

ProbeObjective::ProbeObjective(const Tensor& features, const Standardisation& standardisation, const Targets& targets,
                               const ClassWeights& weights, Reduction reduction)
    : features_(features),
      standardisation_(standardisation),
      targets_(targets),
      weights_(weights),
      reduction_(reduction),
      C_(features.shape[1]),
      K_(targets.labels) {
  SAT_CHECK(features.shape.rank() == 2 && features.shape[0] == targets.rows() && K_ > 0, "features of shape ",
            features.shape, " for ", targets.rows(), " rows of ", K_, " labels");
}

/// What one answer counts for, by label; of classes the first is that of all.
std::vector<double> ProbeObjective::scales(const std::vector<int64_t>& rows) const {
  std::vector<double> known(static_cast<size_t>(K_));
  double all = 0;
  for (const int64_t row : rows) {
    const int8_t* states = targets_.row(row);
    for (int64_t k = 0; k < K_; ++k) {
      if (states[k] < 0) continue;
      const double weight = !targets_.exclusive ? 1 : states[k] == 1 ? weights_.present[size_t(k)] : 0;
      known[size_t(k)] += weight;
      all += weight;
    }
  }
  for (double& one : known) {
    const double over = reduction_ == Reduction::mean || targets_.exclusive ? all : one;
    one = over > 0 ? 1 / over : 0;
  }
  return known;
}

/// A run of the rows, and what it adds.
struct ProbeObjective::Part {
  double loss = 0;
  Matrix weight;            // [K, C], of the gradient
  Eigen::RowVectorXd bias;  // [K]
};

double ProbeObjective::operator()(const std::vector<double>& parameters, const std::vector<int64_t>& rows,
                                  std::vector<double>* gradient) const {
  SAT_CHECK(int64_t(parameters.size()) == this->parameters(), parameters.size(), " parameters of a probe that has ",
            this->parameters());
  const int64_t count = int64_t(rows.size());
  const Rows weight(parameters.data(), K_, C_);
  const Vector bias(parameters.data() + K_ * C_, K_);
  const Vector mean(standardisation_.mean.data(), C_), deviation(standardisation_.deviation.data(), C_);
  const std::vector<double> scale = scales(rows);

  const int64_t in_part = std::max(kBlock, divide_up(divide_up(count, kMostParts), kBlock) * kBlock);
  std::vector<Part> parts(size_t(divide_up(count, in_part)));
  parallel_for(count, in_part, [&](int64_t first, int64_t last) {
    Part& part = parts[size_t(first / in_part)];
    part.weight = Matrix::Zero(K_, C_);
    part.bias = Eigen::RowVectorXd::Zero(K_);
    Matrix x, z;
    for (int64_t at = first; at < last; at += kBlock) {
      const int64_t block = std::min(kBlock, last - at);
      x.resize(block, C_);
      for (int64_t i = 0; i < block; ++i) {
        const float* from = features_.data<float>() + rows[size_t(at + i)] * C_;
        x.row(i) = Eigen::Map<const Eigen::RowVectorXf>(from, C_).cast<double>();
        x.row(i) = (x.row(i) - mean).cwiseQuotient(deviation);
      }
      z.noalias() = x * weight.transpose();
      z.rowwise() += bias;
      for (int64_t i = 0; i < block; ++i) {  // z becomes the loss's derivative by the logits
        const int8_t* states = targets_.row(rows[size_t(at + i)]);
        double* row = z.row(i).data();
        if (!targets_.exclusive) {
          for (int64_t k = 0; k < K_; ++k) {
            const double factor = states[k] < 0 ? 0
                                                : scale[size_t(k)] * (states[k] == 1 ? weights_.present[size_t(k)]
                                                                                     : weights_.absent[size_t(k)]);
            part.loss += factor == 0 ? 0 : factor * (softplus(row[k]) - (states[k] == 1 ? row[k] : 0));
            row[k] = factor == 0 ? 0 : factor * (sigmoid(row[k]) - (states[k] == 1 ? 1 : 0));
          }
          continue;
        }
        const int64_t chosen = std::find(states, states + K_, int8_t(1)) - states;
        if (chosen == K_) {
          z.row(i).setZero();
          continue;
        }
        const double factor = scale[0] * weights_.present[size_t(chosen)];
        const double largest = z.row(i).maxCoeff(), own = row[chosen];
        z.row(i) = (z.row(i).array() - largest).exp();
        const double sum = z.row(i).sum();
        part.loss += factor * (std::log(sum) + largest - own);
        z.row(i) *= factor / sum;
        row[chosen] -= factor;
      }
      if (!gradient) continue;
      part.weight.noalias() += z.transpose() * x;
      part.bias += z.colwise().sum();
    }
  });

  double loss = 0;
  for (const Part& part : parts) loss += part.loss;
  if (gradient) {
    gradient->assign(parameters.size(), 0);
    Eigen::Map<Matrix> to_weight(gradient->data(), K_, C_);
    Eigen::Map<Eigen::RowVectorXd> to_bias(gradient->data() + K_ * C_, K_);
    for (const Part& part : parts) {
      to_weight += part.weight;
      to_bias += part.bias;
    }
  }
  return loss;
}

}  // namespace sat
