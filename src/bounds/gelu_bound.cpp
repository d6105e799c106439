// GELU and its slope on an interval. See gelu_bound.h.
#include "kvalign/bounds/gelu_bound.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "check.h"

namespace kvalign {
namespace {

// Of Phi in absolute terms: erfc and its argument, 4 units each, and of x phi(x), which is below
// 1/4.
constexpr double kSlopeRounding = 16 * kUnitRoundoff;

double normal_distribution(double x) {
  return std::erfc(-x / std::numbers::sqrt2) / 2;
}

double slope(double x) {
  if (std::isinf(x)) return x > 0 ? 1 : 0;
  const double density = std::exp(-x * x / 2) * std::numbers::inv_sqrtpi / std::numbers::sqrt2;
  return normal_distribution(x) + x * density;
}

}  // namespace

double gelu(double x) {
  return x * normal_distribution(x);
}

double gelu_rounding(double x) {
  return std::abs(x) * kSlopeRounding;
}

Certified gelu_slope_bound(double low, double high) {
  check(low <= high, "gelu_slope_bound: expected low <= high, got ", low, " and ", high);
  double largest = std::max(std::abs(slope(low)), std::abs(slope(high))) + kSlopeRounding;
  const auto contains = [&](double x) { return low <= x + 1e-12 && high >= x - 1e-12; };
  if (contains(-std::numbers::sqrt2)) largest = std::max(largest, kLargestGeluSlope - 1);
  if (contains(std::numbers::sqrt2)) largest = kLargestGeluSlope;
  return Certified(std::min(raised(largest, 2), kLargestGeluSlope));
}

}  // namespace kvalign
