// Trials of spectral-norm bounds, on matrices that make them hard: of rank one at extreme scales,
// graded, orthogonal, Hilbert's, with one large column. What is measured is |A v| / |v| in wide
// arithmetic, v the computed singular vector: below the truth by the square of v's error, 1e-30.
#pragma once

#include <Eigen/QR>
#include <Eigen/SVD>
#include <functional>

#include "tests/bounds/trials.h"

namespace kvalign::testing {

using SpectralBound = std::function<double(const Eigen::MatrixXd&)>;

inline Wide wide_spectral_norm(const Eigen::MatrixXd& matrix) {
  const double largest = matrix.cwiseAbs().maxCoeff();
  if (largest == 0) return 0;
  int exponent = 0;
  std::frexp(largest, &exponent);
  const Eigen::MatrixXd scaled = matrix * std::ldexp(1.0, -exponent);
  const Eigen::JacobiSVD<Eigen::MatrixXd> svd(scaled, Eigen::ComputeThinV);
  const WideVector vector = widened(svd.matrixV().col(0));
  return norm(times(scaled, vector)) / norm(vector) * std::ldexp(1.0, exponent);
}

inline Eigen::MatrixXd hard_matrix(Random& random) {
  const Eigen::Index rows = 1 + random.below(24), columns = 1 + random.below(20);
  Eigen::MatrixXd matrix = random.matrix(rows, columns);
  switch (random.below(8)) {
    case 0:
      return random.vector(rows) * random.vector(columns).transpose() * random.power(-20, 20);
    case 1:
      for (Eigen::Index i = 0; i < columns; ++i) matrix.col(i) *= std::pow(10.0, -0.6 * i);
      return matrix;
    case 2: {
      const Eigen::Index size = std::max(rows, columns);
      const Eigen::MatrixXd square =
          Eigen::HouseholderQR<Eigen::MatrixXd>(random.matrix(size, size)).householderQ();
      return square.topLeftCorner(rows, columns);
    }
    case 3:
      return Eigen::MatrixXd::NullaryExpr(
          rows, columns, [](Eigen::Index i, Eigen::Index j) { return 1.0 / (i + j + 1); });
    case 4:
      matrix.col(0) *= 1e6;
      return matrix;
    case 5:
      return matrix * (random.sign() < 0 ? 1e-180 : 1e150);
    case 6:
      return matrix * 0.0;
    default:
      return matrix;
  }
}

inline Tightness check_spectral_bound(const SpectralBound& bound, int64_t trials, uint64_t seed) {
  Random random(seed);
  Tightness result;
  while (result.trials() < trials) {
    const Eigen::MatrixXd matrix = hard_matrix(random);
    result.add(wide_spectral_norm(matrix), bound(matrix));
  }
  return result;
}

}  // namespace kvalign::testing
