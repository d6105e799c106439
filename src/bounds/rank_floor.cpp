// Floors of the projection error. See rank_floor.h.
#include "kvalign/bounds/rank_floor.h"

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>

#include "check.h"

namespace kvalign {

Measured rank_floor(const Eigen::MatrixXd& covariance, int64_t dimensions) {
  check(covariance.rows() == covariance.cols() && covariance.rows() > 0 && dimensions >= 0 &&
            covariance.allFinite(),
        "rank_floor: expected a finite square covariance and dimensions >= 0, got ",
        covariance.rows(), " x ", covariance.cols(), " and ", dimensions);
  const Eigen::Index beyond = std::max<Eigen::Index>(covariance.rows() - dimensions, 0);
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(covariance, Eigen::EigenvaluesOnly);
  const double tail = solver.eigenvalues().head(beyond).cwiseMax(0).sum();
  // Each eigenvalue is wrong by a small multiple of n u times the largest (backward stability).
  const auto size = static_cast<double>(covariance.rows());
  const double error = static_cast<double>(beyond) * rounding_gamma(16 * size) *
                       std::abs(solver.eigenvalues()[covariance.rows() - 1]);
  return Measured(std::max(tail - error, 0.0));
}

Measured norm_floor(const Eigen::VectorXd& norms, int64_t width) {
  check(norms.size() > 0, "norm_floor: expected at least one row, got none");
  const double root = std::sqrt(static_cast<double>(width));
  const double mean = (norms.array() - root).max(0.0).mean();
  return Measured(lowered(mean, static_cast<double>(norms.size()) + 4));
}

Measured mean_norm_from_mse(Measured mse, int64_t width) {
  return Measured(raised(std::sqrt(mse.value() * static_cast<double>(width)), 4));
}

}  // namespace kvalign
