// Certificates of linear projectors, and of the norm at the end of any. See
// projector_certificate.h.
#include "kvalign/bounds/projector_certificate.h"

#include <cmath>
#include <utility>

#include "check.h"

namespace kvalign {

void OutputNormParameters::validate(Eigen::Index output_size) const {
  if (kind == OutputNorm::kNone) return;
  check(gamma.size() == output_size && gamma.allFinite(),
        "OutputNormParameters: expected a finite gamma of ", output_size, " numbers, got ",
        gamma.size(), " numbers. Pass ones where the norm has no gamma");
  check(epsilon >= 0 && std::isfinite(epsilon),
        "OutputNormParameters: expected a finite epsilon >= 0, got ", epsilon);
}

Certified bound_after_norm(const OutputNormParameters& norm, const LinearMap::Output& centre,
                           Certified radius) {
  if (norm.kind == OutputNorm::kNone) return radius;
  ApproximateVector exact{centre.value, norm_upper(centre.errors)};
  if (norm.kind == OutputNorm::kLayer) exact = without_mean(exact);
  const double sigma = sigma_lower(exact, norm.epsilon);
  return Certified(norm.gamma.cwiseAbs().maxCoeff()) *
         norm_chord_bound(radius.value(), sigma, centre.value.size());
}

LinearCertificate::LinearCertificate(Eigen::MatrixXd weight, Eigen::VectorXd bias,
                                     OutputNormParameters norm)
    : norm_(std::move(norm)),
      map_(std::move(weight), std::move(bias), {.centred = norm_.kind == OutputNorm::kLayer}) {
  norm_.validate(map_.output_size());
}

Certified LinearCertificate::bound(const Eigen::VectorXd& decoded,
                                   const Eigen::VectorXd& half_widths) const {
  const Certified radius = map_.box_bound(half_widths);
  if (norm_.kind == OutputNorm::kNone) return radius;  // which does not depend on the centre
  return bound_after_norm(norm_, map_.apply(decoded), radius);
}

}  // namespace kvalign
