// Certificates of projectors with a hidden layer. See mlp_certificate.h.
#include "kvalign/bounds/mlp_certificate.h"

#include <algorithm>
#include <utility>

#include "check.h"
#include "kvalign/bounds/gelu_bound.h"

namespace kvalign {

MlpCertificate::MlpCertificate(MlpWeights weights, OutputNormParameters norm)
    : norm_(std::move(norm)),
      hidden_(std::move(weights.hidden_weight), std::move(weights.hidden_bias)),
      output_(std::move(weights.output_weight), std::move(weights.output_bias),
              {.centred = norm_.kind == OutputNorm::kLayer}) {
  check(hidden_.output_size() == output_.input_size(),
        "MlpCertificate: expected an output layer that reads ", hidden_.output_size(),
        " hidden units, got one that reads ", output_.input_size(),
        ". Are the weights [outputs, inputs]?");
  norm_.validate(output_.output_size());
}

Certified MlpCertificate::bound(const Eigen::VectorXd& decoded,
                                const Eigen::VectorXd& half_widths) const {
  const LinearMap::Output before = hidden_.apply(decoded);
  const Eigen::VectorXd reach = hidden_.output_box(half_widths);
  Eigen::VectorXd activation(reach.size()), activation_error(reach.size()), moves(reach.size());
  Certified steepest(0);
  for (Eigen::Index i = 0; i < reach.size(); ++i) {
    const double centre = before.value[i], error = before.errors[i];
    // Two roundings of the end points, relative to the numbers that they are made of.
    const double around = raised(reach[i] + error + 4 * kUnitRoundoff * std::abs(centre), 4);
    const Certified slope = gelu_slope_bound(centre - around, centre + around);
    steepest = max(steepest, slope);
    moves[i] = (slope * Certified(reach[i])).value();
    activation[i] = gelu(centre);
    activation_error[i] = kLargestGeluSlope * error + gelu_rounding(centre);
  }
  const Certified through_ball =
      output_.ball_bound(steepest * hidden_.ball_bound(Certified(norm_upper(half_widths))));
  const Certified radius = tighter(output_.box_bound(moves), through_ball);
  if (norm_.kind == OutputNorm::kNone) return radius;
  return bound_after_norm(norm_, output_.apply(activation, activation_error), radius);
}

ResidualMlpCertificate::ResidualMlpCertificate(Eigen::MatrixXd weight, MlpWeights weights)
    : linear_(std::move(weight), {}), mlp_(std::move(weights), {}) {}

Certified ResidualMlpCertificate::bound(const Eigen::VectorXd& decoded,
                                        const Eigen::VectorXd& half_widths) const {
  return linear_.box_bound(half_widths) + mlp_.bound(decoded, half_widths);
}

}  // namespace kvalign
