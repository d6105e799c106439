// Trials of softmax's total variation bound: random rows, sign patterns, and two-level rows, which
// attain it.
#pragma once

#include <functional>

#include "kvalign/bounds/softmax_bound.h"
#include "tests/bounds/trials.h"

namespace kvalign::testing {

using VariationBound = std::function<double(const Eigen::VectorXd& scores, double tau)>;

// Scores in 64 bits (x86) or more; weights never cancel, so that this is enough.
inline WideVector wide_softmax(const WideVector& scores) {
  const Wide largest = *std::max_element(scores.begin(), scores.end());
  WideVector weights(scores.size());
  Wide sum = 0;
  for (size_t j = 0; j < scores.size(); ++j) {
    weights[j] = std::exp(static_cast<long double>(scores[j] - largest));
    sum += weights[j];
  }
  for (Wide& weight : weights) weight /= sum;
  return weights;
}

// The bound as the library computes it from scores: what rest is, is part of what is tested.
inline double total_variation_from_scores(const Eigen::VectorXd& scores, double tau) {
  const Eigen::VectorXd weights = softmax_upper(scores, 0);
  Eigen::Index heaviest = 0;
  weights.maxCoeff(&heaviest);
  double rest = 0;
  for (Eigen::Index j = 0; j < weights.size(); ++j) rest += j == heaviest ? 0 : weights[j];
  return total_variation_bound(tau, raised(rest, 16)).value();
}

inline Tightness check_total_variation(const VariationBound& bound, int64_t trials, uint64_t seed) {
  Random random(seed);
  Tightness result;
  while (result.trials() < trials) {
    const int64_t law = random.below(3);
    const Eigen::Index tokens = law == 2 ? 2 : 2 + random.below(7);
    const double tau = random.power(-3, 0.7);
    Eigen::VectorXd scores = random.vector(tokens) * random.power(-1, 1.6), moves(tokens);
    for (double& move : moves) move = tau * (law == 0 ? random.uniform(-1, 1) : random.sign());
    if (law == 2) {  // the set that gains most
      scores << 0, tau;
      moves << tau, -tau;
    }
    WideVector before = widened(scores), after = before;
    for (Eigen::Index j = 0; j < tokens; ++j) after[j] += moves[j];
    const WideVector p = wide_softmax(before), moved = wide_softmax(after);
    // What the others gained or lost, whichever the heaviest did not: its own change would cancel.
    const auto heaviest = std::max_element(p.begin(), p.end()) - p.begin();
    Wide gained = 0, lost = 0;
    for (Eigen::Index j = 0; j < tokens; ++j) {
      if (j == heaviest) continue;
      (moved[j] > p[j] ? gained : lost) += wide_abs(moved[j] - p[j]);
    }
    const Wide variation = std::max(gained, lost);
    result.add(variation, bound(scores, tau));
  }
  return result;
}

}  // namespace kvalign::testing
