// How far a linear task head's input may move before its decision can change. For logits z = U y +
// c with the largest at i, the decision is constant in the open ball of radius
//   R = min_{j != i} (z_i - z_j) / |u_i - u_j|_2
// around y and changes just outside: the distance from a point to a hyperplane (as in Hein and
// Andriushchenko, NeurIPS 2017, for linear classifiers). Ties have R = 0 and are never certified.
//
// Shapes: K classes, D features; U [K, D], c [K], y [D].
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <span>

#include "kvalign/bounds/evidence.h"
#include "kvalign/format/export.h"

namespace kvalign {

struct DecisionMargin {
  int64_t decision = 0;  // the class
  double radius = 0;     // at most R; infinity where all classes have one row of U

  /// Is the decision the same for every input that moved by at most `distortion`?
  bool certifies(Certified distortion) const { return distortion.value() < radius; }
};

class KVALIGN_API LinearHead {
 public:
  /// `bias` [K] or empty. Throws std::invalid_argument for no classes, NaN, infinity or a bias of
  /// another size.
  LinearHead(Eigen::MatrixXd weight, Eigen::VectorXd bias);

  /// Throws std::invalid_argument for an input that is not [D].
  DecisionMargin margin(const Eigen::VectorXd& input) const;

 private:
  Eigen::MatrixXd weight_;
  Eigen::VectorXd bias_;
};

/// Of the mean of token outputs, from each token's bound: the mean of the bounds. Throws
/// std::invalid_argument for no tokens.
KVALIGN_API Certified mean_pooled_bound(std::span<const Certified> token_bounds);

}  // namespace kvalign
