// How far LayerNorm or RMSNorm moves when its input moves: with sigma(v) = sqrt(|v|^2 / d + eps)
// and g(v) = v / sigma(v), where LayerNorm's v has its mean removed. gamma and beta are the
// caller's.
//
// With (v, sqrt(d eps)) as a point of d + 1 dimensions, g is the projection to a sphere of radius
// sqrt(d), and a ball of radius r around a is seen from the origin under an angle of at most
// arcsin kappa, kappa = r / (sqrt(d) sigma(a)). The chord of that angle bounds the move:
//   |g(a) - g(b)| <= Phi(r) = sqrt(d) sqrt(2 - 2 sqrt(1 - kappa^2)),   2 sqrt(d) where kappa > 1,
// attained by tangents as eps -> 0: nothing better holds for all inputs with this sigma and r.
// Elementary geometry; derived for this project, checked in tests/bounds/norm_bound_test.cpp.
#pragma once

#include <Eigen/Core>
#include <cstdint>

#include "kvalign/bounds/evidence.h"
#include "kvalign/format/export.h"

namespace kvalign {

/// Phi for a `radius` >= 0 (infinity allowed), a lower bound `sigma` >= 0 of sigma(a), and the
/// `width` d > 0. Evaluated as r / sigma * sqrt(2 / (1 + sqrt(1 - kappa^2))), which does not
/// cancel. Throws std::invalid_argument for other arguments.
KVALIGN_API Certified norm_chord_bound(double radius, double sigma, int64_t width);

/// Known to within `error` (2-norm).
struct ApproximateVector {
  Eigen::VectorXd value;  // [d]
  double error = 0;
};

/// At most sigma of the exact vector, and never below sqrt(epsilon).
KVALIGN_API double sigma_lower(const ApproximateVector& vector, double epsilon);

/// The vector without its mean, as LayerNorm takes it.
KVALIGN_API ApproximateVector without_mean(const ApproximateVector& vector);

}  // namespace kvalign
