// How far float64 arithmetic can be from the real numbers, so that a bound stays one after it was
// computed. Knows nothing of what is bounded.
//
// Model: fl(a op b) = (a op b)(1 + d), |d| <= u = 2^-53, in any order of summation, with or without
// fused multiplications (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., sections
// 2.2 and 3.1). Of exp, log, tanh and erf the C library is trusted to 4 units in the last place
// (glibc's manual, "Known Maximum Errors", gives 1 to 2).
#pragma once

#include <Eigen/Core>

#include "kvalign/format/export.h"

namespace kvalign {

constexpr double kUnitRoundoff = 0x1p-53;

/// gamma_k = k u / (1 - k u): the relative error of k roundings in a row, and of a dot product of k
/// terms in relation to the dot product of the magnitudes (Higham, lemma 3.1 and section 3.1).
constexpr double rounding_gamma(double roundings) {
  return roundings * kUnitRoundoff / (1 - roundings * kUnitRoundoff);
}

/// At least the exact value, where `computed` came of numbers >= 0 by sums, products, quotients and
/// roots with at most `roundings` roundings on any path (below 2^40), none of which underflowed.
constexpr double raised(double computed, double roundings) {
  return computed * (1 + (roundings + 2) * 2 * kUnitRoundoff);
}
/// At most the exact value, in the same way.
constexpr double lowered(double computed, double roundings) {
  return computed * (1 - (roundings + 2) * 2 * kUnitRoundoff);
}

/// The power of two that brings `magnitude` (finite, > 0) to [0.5, 1): scaling by it is exact.
KVALIGN_API double power_of_two_scale(double magnitude);

/// At least the 2-norm, without overflow or underflow; infinity where an entry is infinite.
KVALIGN_API double norm_upper(const Eigen::Ref<const Eigen::VectorXd>& vector);

/// At least the Frobenius norm; as norm_upper.
KVALIGN_API double frobenius_upper(const Eigen::MatrixXd& matrix);

}  // namespace kvalign
