// The chord bound of LayerNorm and RMSNorm. See norm_bound.h.
#include "kvalign/bounds/norm_bound.h"

#include <algorithm>
#include <cmath>

#include "check.h"

namespace kvalign {

Certified norm_chord_bound(double radius, double sigma, int64_t width) {
  check(radius >= 0 && sigma >= 0 && width > 0,
        "norm_chord_bound: expected radius and sigma >= 0 and a width > 0, got ", radius, ", ",
        sigma, " and ", width);
  if (radius == 0) return Certified(0);
  const double root = std::sqrt(static_cast<double>(width));
  const double kappa = raised(radius / (root * sigma), 3);
  if (!(kappa < 1)) return Certified(raised(2 * root, 1));
  const double cosine = lowered(std::sqrt((1 - kappa) * (1 + kappa)), 4);
  return Certified(raised(radius / sigma * std::sqrt(2 / (1 + cosine)), 6));
}

double sigma_lower(const ApproximateVector& vector, double epsilon) {
  const auto width = static_cast<double>(vector.value.size());
  const double mean_square = vector.value.squaredNorm() / width;
  const double sigma = lowered(std::sqrt(mean_square + epsilon), width + 4);
  // sigma is Lipschitz with constant 1 / sqrt(d).
  const double moved = sigma - raised(vector.error / std::sqrt(width), 4);
  return std::max(moved, lowered(std::sqrt(epsilon), 1));
}

ApproximateVector without_mean(const ApproximateVector& vector) {
  const auto width = static_cast<double>(vector.value.size());
  const double mean = vector.value.mean();
  const double rounding =
      std::sqrt(width) * rounding_gamma(width + 2) * vector.value.cwiseAbs().mean() +
      kUnitRoundoff * norm_upper(vector.value);
  // Removing the mean is an orthogonal projection: it enlarges no error.
  return {vector.value.array() - mean, raised(vector.error + rounding, width + 8)};
}

}  // namespace kvalign
