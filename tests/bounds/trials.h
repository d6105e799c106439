// What all trials of bounds share: numbers wide enough to measure without rounding that matters,
// random inputs, and the count of violations with how much of the bound was used.
#pragma once

#include <gtest/gtest.h>

#include <Eigen/Core>
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

namespace kvalign::testing {

// 113 bits: what is measured is exact in relation to the 53 bits of what is certified, so that a
// violation of any size counts and no tolerance is needed.
#if LDBL_MANT_DIG >= 113
using Wide = long double;
#else
using Wide = __float128;
#endif
using WideVector = std::vector<Wide>;

inline Wide wide_sqrt(Wide square) {
  if (!(square > 0)) return 0;
  Wide root = std::sqrt(static_cast<long double>(square));
  if (!(root > 0)) return 0;
  for (int step = 0; step < 2; ++step) root = (root + square / root) / 2;
  return root;
}
inline Wide wide_abs(Wide value) {
  return value < 0 ? -value : value;
}

inline Wide norm(const WideVector& vector) {
  Wide squares = 0;
  for (const Wide entry : vector) squares += entry * entry;
  return wide_sqrt(squares);
}
inline WideVector difference(const WideVector& a, const WideVector& b) {
  WideVector result(a.size());
  for (size_t i = 0; i < a.size(); ++i) result[i] = a[i] - b[i];
  return result;
}
inline WideVector widened(const Eigen::VectorXd& vector) {
  return WideVector(vector.data(), vector.data() + vector.size());
}
inline Eigen::VectorXd narrowed(const WideVector& vector) {
  Eigen::VectorXd result(static_cast<Eigen::Index>(vector.size()));
  for (size_t i = 0; i < vector.size(); ++i) result[i] = static_cast<double>(vector[i]);
  return result;
}
inline WideVector times(const Eigen::MatrixXd& matrix, const WideVector& vector) {
  WideVector result(static_cast<size_t>(matrix.rows()), 0);
  for (Eigen::Index column = 0; column < matrix.cols(); ++column) {
    for (Eigen::Index row = 0; row < matrix.rows(); ++row) {
      result[row] += matrix(row, column) * vector[column];
    }
  }
  return result;
}

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  double normal() { return normal_(engine_); }
  double uniform(double low, double high) {
    return low + (high - low) * (engine_() >> 11) * 0x1p-53;
  }
  double power(double low, double high) { return std::pow(10.0, uniform(low, high)); }
  double sign() { return engine_() % 2 ? 1 : -1; }
  int64_t below(int64_t end) {
    return static_cast<int64_t>(engine_() % static_cast<uint64_t>(end));
  }
  template <class Choices>
  auto choose(const Choices& choices) {
    return std::data(choices)[below(static_cast<int64_t>(std::size(choices)))];
  }
  Eigen::VectorXd vector(Eigen::Index size) {
    return Eigen::VectorXd::NullaryExpr(size, [&] { return normal(); });
  }
  // Entries are float32, as weights are.
  Eigen::MatrixXd matrix(Eigen::Index rows, Eigen::Index columns) {
    return Eigen::MatrixXd::NullaryExpr(rows, columns,
                                        [&] { return static_cast<float>(normal()); });
  }

 private:
  std::mt19937_64 engine_;
  std::normal_distribution<double> normal_;
};

class Tightness {
 public:
  // One trial: is what was measured at most what was certified?
  template <class Number>
  void add(Number measured, double certified) {
    ++trials_;
    if (!(measured <= certified)) ++violations_;
    if (!(certified > 0) || !std::isfinite(certified)) return;
    const auto ratio = static_cast<double>(measured / static_cast<Number>(certified));
    largest_ = std::max(largest_, ratio);
    if (ratios_.size() < kMostRatios) ratios_.push_back(ratio);
  }
  void add_condition(bool holds) {
    ++trials_;
    violations_ += !holds;
  }

  int64_t trials() const { return trials_; }
  int64_t violations() const { return violations_; }
  double largest() const { return largest_; }
  double median() const {
    if (ratios_.empty()) return 0;
    std::vector<double> sorted = ratios_;
    std::nth_element(sorted.begin(), sorted.begin() + sorted.size() / 2, sorted.end());
    return sorted[sorted.size() / 2];
  }
  void print(const std::string& name) const {
    std::printf("[ bound    ] %-44s %9lld trials  true/bound median %.4f  max %.6f\n", name.c_str(),
                static_cast<long long>(trials_), median(), largest_);
  }

 private:
  static constexpr size_t kMostRatios = 1000000;
  int64_t trials_ = 0, violations_ = 0;
  double largest_ = 0;
  std::vector<double> ratios_;
};

inline void expect_no_violation(const char* name, const Tightness& tightness) {
  EXPECT_EQ(tightness.violations(), 0) << name << ", of " << tightness.trials();
  EXPECT_GT(tightness.trials(), 0) << name;
  tightness.print(name);
}

}  // namespace kvalign::testing
