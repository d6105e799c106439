// Margins of linear heads. See head_margin.h.
#include "kvalign/bounds/head_margin.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "check.h"

namespace kvalign {

LinearHead::LinearHead(Eigen::MatrixXd weight, Eigen::VectorXd bias)
    : weight_(std::move(weight)), bias_(std::move(bias)) {
  check(weight_.size() > 0, "LinearHead: expected a weight of at least 1 x 1, got ", weight_.rows(),
        " x ", weight_.cols());
  check(bias_.size() == 0 || bias_.size() == weight_.rows(), "LinearHead: expected a bias of ",
        weight_.rows(), " numbers or none, got ", bias_.size());
  check(weight_.allFinite() && bias_.allFinite(),
        "LinearHead: expected finite weights and biases, got NaN or infinity");
  if (bias_.size() == 0) bias_ = Eigen::VectorXd::Zero(weight_.rows());
}

DecisionMargin LinearHead::margin(const Eigen::VectorXd& input) const {
  check(input.size() == weight_.cols(), "LinearHead::margin: expected ", weight_.cols(),
        " features, got ", input.size());
  const auto terms = static_cast<double>(input.size());
  const Eigen::VectorXd logits = weight_ * input + bias_;
  const Eigen::VectorXd magnitudes = weight_.cwiseAbs() * input.cwiseAbs() + bias_.cwiseAbs();
  const double rounding = raised(2 * rounding_gamma(terms + 4) * magnitudes.maxCoeff(), terms + 6);
  DecisionMargin result{.decision = 0, .radius = std::numeric_limits<double>::infinity()};
  logits.maxCoeff(&result.decision);
  for (Eigen::Index other = 0; other < logits.size(); ++other) {
    if (other == result.decision) continue;
    const double lead = logits[result.decision] - logits[other] - rounding;
    const double apart = norm_upper(weight_.row(result.decision) - weight_.row(other));
    const double radius = apart == 0 && lead > 0
                              ? std::numeric_limits<double>::infinity()
                              : lowered(std::max(lead, 0.0) / raised(apart, 2), 4);
    result.radius = std::min(result.radius, lead <= 0 ? 0.0 : radius);
  }
  return result;
}

Certified mean_pooled_bound(std::span<const Certified> token_bounds) {
  check(!token_bounds.empty(), "mean_pooled_bound: expected at least one token, got none");
  Certified sum(0);
  for (const Certified& bound : token_bounds) sum = sum + bound;
  return Certified(raised(sum.value() / static_cast<double>(token_bounds.size()), 1));
}

}  // namespace kvalign
