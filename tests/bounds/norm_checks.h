// Trials of LayerNorm's and RMSNorm's bounds: random moves, tangents (which attain the chord) and
// moves towards and through the origin.
#pragma once

#include <functional>

#include "kvalign/bounds/norm_bound.h"
#include "tests/bounds/trials.h"

namespace kvalign::testing {

using ChordBound = std::function<double(double radius, double sigma, int64_t width)>;
using SigmaBound = std::function<double(const ApproximateVector&, double epsilon)>;

inline Wide wide_sigma(const WideVector& vector, double epsilon) {
  const Wide length = norm(vector);
  return wide_sqrt(length * length / static_cast<Wide>(vector.size()) + epsilon);
}

inline WideVector wide_normalised(WideVector vector, double epsilon) {
  const Wide sigma = wide_sigma(vector, epsilon);
  for (Wide& entry : vector) entry /= sigma;
  return vector;
}

inline WideVector wide_without_mean(WideVector vector) {
  Wide mean = 0;
  for (const Wide entry : vector) mean += entry / static_cast<Wide>(vector.size());
  for (Wide& entry : vector) entry -= mean;
  return vector;
}

// A move from `a`: along the tangent to the sphere that b lies on, towards the origin, or anywhere.
inline Eigen::VectorXd moved(const Eigen::VectorXd& a, double radius, int64_t kind,
                             Random& random) {
  const double length = a.norm();
  Eigen::VectorXd direction = random.vector(a.size());
  if (kind == 0) return a + direction * (radius / direction.norm());
  if (kind == 1) return a * (1 - radius / length);
  direction -= a * (direction.dot(a) / (length * length));
  const double sine = std::min(radius / length, 0.999999), cosine = std::sqrt(1 - sine * sine);
  return cosine * (cosine * a + direction * (sine * length / direction.norm()));
}

inline Tightness check_chord_bound(const ChordBound& bound, int64_t trials, uint64_t seed) {
  Random random(seed);
  Tightness result;
  const Eigen::Index widths[] = {2, 3, 8, 24};
  while (result.trials() < trials) {
    const Eigen::Index width = random.choose(widths);
    const Eigen::VectorXd a = random.vector(width) * random.power(-3, 3);
    const double epsilon = random.power(-18, 0);
    const double radius = a.norm() * random.power(-5, 0.5);
    const Eigen::VectorXd b = moved(a, radius, random.below(3), random);
    const WideVector wide_a = widened(a), wide_b = widened(b);
    // Upwards and downwards by more than narrowing rounds, as the bound's arguments are meant.
    const double distance = raised(static_cast<double>(norm(difference(wide_a, wide_b))), 1);
    const double sigma = lowered(static_cast<double>(wide_sigma(wide_a, epsilon)), 1);
    result.add(norm(difference(wide_normalised(wide_a, epsilon), wide_normalised(wide_b, epsilon))),
               bound(distance, sigma, width));
  }
  return result;
}

// At most the exact sigma, and not needlessly below it.
inline Tightness check_sigma_bound(const SigmaBound& bound, int64_t trials, uint64_t seed) {
  Random random(seed);
  Tightness result;
  while (result.trials() < trials) {
    const Eigen::Index width = 1 + random.below(30);
    const double epsilon = random.power(-12, 0);
    const Eigen::VectorXd vector = random.vector(width) * random.power(-8, 3);
    Eigen::VectorXd error = random.vector(width);
    error *= vector.norm() * 1e-13 / error.norm();
    WideVector exact = widened(vector);
    for (Eigen::Index i = 0; i < width; ++i) exact[i] += error[i];
    const double sigma = bound({vector, norm_upper(error)}, epsilon);
    const Wide exact_sigma = wide_sigma(exact, epsilon);
    result.add_condition(sigma <= exact_sigma);
    result.add_condition(sigma >= exact_sigma * (1 - 1e-9));
  }
  return result;
}

}  // namespace kvalign::testing
