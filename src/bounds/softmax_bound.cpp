// Total variation of softmax. See softmax_bound.h.
#include "kvalign/bounds/softmax_bound.h"

#include <algorithm>
#include <cmath>

#include "check.h"

namespace kvalign {

Certified total_variation_bound(double tau, double rest) {
  check(tau >= 0 && rest >= 0, "total_variation_bound: expected tau >= 0 and rest >= 0, got ", tau,
        " and ", rest);
  const Certified general(std::min(raised(std::tanh(tau / 2), 8), 1.0));
  const double heaviest_gain = lowered(1 / (1 + std::exp(tau)), 8);
  if (rest >= 0.5 || rest >= heaviest_gain) return general;
  // Both gains grow with rest below 1 / (1 + e^tau): an upper bound of rest is what they need.
  const double w = std::exp(-2 * tau), gained = rest * (1 - rest) * -std::expm1(-2 * tau);
  const double of_heaviest = gained / ((1 - rest) + rest * w);
  const double of_rest = rest == 0 ? 0 : gained / (rest + (1 - rest) * w);
  return tighter(general, Certified(raised(std::max(of_heaviest, of_rest), 32)));
}

Eigen::VectorXd softmax_upper(const Eigen::VectorXd& scores, double score_error) {
  if (scores.size() == 0) return scores;
  const Eigen::ArrayXd shifted = scores.array() - scores.maxCoeff();
  const Eigen::ArrayXd exponentials = shifted.exp();
  const double sum = exponentials.sum();
  // A difference of scores is wrong by twice a score's error and by its own rounding.
  const double error = 2 * score_error + 4 * kUnitRoundoff * -shifted.minCoeff();
  const double factor =
      raised(std::exp(raised(2 * error, 4)), static_cast<double>(scores.size()) + 24);
  // Weights that underflow are below the floor.
  return (exponentials / sum * factor).max(1e-300).min(1.0).matrix();
}

}  // namespace kvalign
