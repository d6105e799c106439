// How much attention weights move when scores move. With |ds_j| <= tau for every j, the weights p
// become p' with total variation
//   TV(p, p') = |p' - p|_1 / 2 <= tanh(tau / 2)
// and no less in general: a set of tokens of weight a gains f(a) = a (1 - a) (1 - w) / (a + (1 - a)
// w), w = e^(-2 tau), which is largest at a = 1 / (1 + e^tau). The l1 norm is 1-Lipschitz in the
// largest score change, not 1/2; 1/2 is right from l2 to l2 only (softmax's Jacobian diag(p) - p
// p^T; Gao and Pavel, arXiv 1704.00805). Derived for this project.
#pragma once

#include <Eigen/Core>

#include "kvalign/bounds/evidence.h"
#include "kvalign/format/export.h"

namespace kvalign {

/// Of the total variation, for `tau` >= 0 (infinity allowed). `rest` is at least the weight of all
/// tokens but the heaviest, summed over them: 1 - p_max would lose it to cancellation. A peaked row
/// (rest < 1/2 and rest < 1 / (1 + e^tau)) cannot move by more than max(f(1 - rest), f(rest)).
/// Throws std::invalid_argument for a tau or a rest below 0.
KVALIGN_API Certified total_variation_bound(double tau, double rest);

/// The weights [T] of scores [T], each at least the exact weight, where each score is known to
/// within `score_error` (absolute).
KVALIGN_API Eigen::VectorXd softmax_upper(const Eigen::VectorXd& scores, double score_error);

}  // namespace kvalign
