// Trials of decision margins, pooled bounds and floors. A margin is measured by the distance to the
// nearest boundary in wide arithmetic; it must be at most that, and nearly that.
#pragma once

#include <Eigen/Eigenvalues>
#include <functional>

#include "kvalign/bounds/head_margin.h"
#include "kvalign/bounds/rank_floor.h"
#include "tests/bounds/trials.h"

namespace kvalign::testing {

using MarginBound = std::function<double(const Eigen::MatrixXd& weight, const Eigen::VectorXd& bias,
                                         const Eigen::VectorXd& input)>;
using PooledBound = std::function<double(const std::vector<Certified>&)>;
using RankFloor = std::function<double(const Eigen::MatrixXd& covariance, int64_t dimensions)>;

inline Tightness check_margin(const MarginBound& bound, int64_t trials, uint64_t seed) {
  Random random(seed);
  Tightness result;
  while (result.trials() < trials) {
    const Eigen::Index classes = 2 + random.below(4), features = 1 + random.below(6);
    const Eigen::MatrixXd weight = random.matrix(classes, features) * random.power(-3, 3);
    const Eigen::VectorXd bias = random.vector(classes), input = random.vector(features);
    WideVector logits = times(weight, widened(input));
    for (Eigen::Index i = 0; i < classes; ++i) logits[i] += bias[i];
    const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
    Wide nearest = 1e30;
    for (Eigen::Index other = 0; other < classes; ++other) {
      if (other == best) continue;
      const Wide apart = norm(difference(widened(weight.row(best)), widened(weight.row(other))));
      nearest = std::min(nearest, (logits[best] - logits[other]) / apart);
    }
    const double radius = bound(weight, bias, input);
    result.add(static_cast<Wide>(radius), static_cast<double>(nearest));
    if (nearest > 1e-6) result.add_condition(radius >= nearest * (1 - 1e-6));
  }
  return result;
}

// The mean of token outputs that all moved in one direction, each by its bound.
inline Tightness check_pooled(const PooledBound& bound, int64_t trials, uint64_t seed) {
  Random random(seed);
  Tightness result;
  while (result.trials() < trials) {
    std::vector<Certified> tokens;
    Wide sum = 0;
    const int64_t count = 1 + random.below(50);
    for (int64_t token = 0; token < count; ++token) {
      tokens.emplace_back(random.power(-6, 2));
      sum += tokens.back().value();
    }
    result.add(sum / count, bound(tokens));
  }
  return result;
}

// The best affine map of these features, and the best approximation of that dimension whatever.
inline Tightness check_rank_floor(const RankFloor& floor, int64_t trials, uint64_t seed) {
  Random random(seed);
  Tightness result;
  while (result.trials() < trials) {
    const Eigen::Index rows = 40, width = 3 + random.below(8), dimensions = random.below(width + 1);
    const Eigen::MatrixXd targets = random.matrix(rows, width) * random.matrix(width, width);
    const Eigen::MatrixXd centred = targets.rowwise() - targets.colwise().mean();
    const Eigen::MatrixXd covariance = centred.transpose() * centred / static_cast<double>(rows);
    const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(covariance);
    const Eigen::MatrixXd directions = solver.eigenvectors().rightCols(dimensions);
    const Eigen::MatrixXd left_out = centred - centred * directions * directions.transpose();
    const double least = left_out.rowwise().squaredNorm().mean();
    const double measured = floor(covariance, dimensions);
    result.add(measured, least);
    result.add_condition(measured >= least * (1 - 1e-9) - 1e-9 * covariance.trace());
  }
  return result;
}

}  // namespace kvalign::testing
