// Norms that are not below the exact ones. See rounding.h.
#include "kvalign/bounds/rounding.h"

#include <cmath>
#include <limits>

namespace kvalign {
namespace {

template <class Entries>
double upper(const Entries& entries) {
  if (entries.size() == 0) return 0;
  const double largest = entries.cwiseAbs().maxCoeff();
  if (largest == 0) return 0;
  if (!std::isfinite(largest)) return std::numeric_limits<double>::infinity();
  const double scale = power_of_two_scale(largest);
  // Entries far below the largest one underflow when squared: together below the last rounding.
  const double squares = (entries * scale).cwiseAbs2().sum();
  return raised(std::sqrt(squares), static_cast<double>(entries.size()) + 4) / scale;
}

}  // namespace

double power_of_two_scale(double magnitude) {
  int exponent = 0;
  std::frexp(magnitude, &exponent);
  // Beyond 2^1022 the scale itself would not be finite; what is smaller then has room enough.
  return std::ldexp(1.0, std::min(-exponent, 1022));
}

double norm_upper(const Eigen::Ref<const Eigen::VectorXd>& vector) {
  return upper(vector);
}

double frobenius_upper(const Eigen::MatrixXd& matrix) {
  return upper(matrix);
}

}  // namespace kvalign
