// Certificates of latents. See low_rank_certificate.h.
#include "kvalign/bounds/low_rank_certificate.h"

#include "check.h"

namespace kvalign {
namespace {

Eigen::MatrixXd product_of(const Eigen::MatrixXd& decoder, const Eigen::MatrixXd& encoder) {
  check(decoder.cols() == encoder.rows(), "LowRankCertificate: expected a decoder that reads ",
        encoder.rows(), " latent numbers, got one that reads ", decoder.cols(),
        ". Are the weights [outputs, inputs]?");
  return decoder * encoder;
}

Certified rounding_of_product(const Eigen::MatrixXd& decoder, const Eigen::MatrixXd& encoder) {
  const auto rank = static_cast<double>(encoder.rows());
  return Certified(rounding_gamma(rank + 2)) * Certified(frobenius_upper(decoder)) *
         Certified(frobenius_upper(encoder));
}

}  // namespace

LowRankCertificate::LowRankCertificate(Eigen::MatrixXd encoder, Eigen::MatrixXd decoder)
    : encoder_(encoder, {}),
      decoder_(decoder, {}),
      product_(product_of(decoder, encoder), {}),
      product_rounding_(rounding_of_product(decoder, encoder)) {}

Certified LowRankCertificate::latent_bound(const Eigen::VectorXd& half_widths) const {
  return decoder_.box_bound(half_widths);
}

Certified LowRankCertificate::cache_bound(const Eigen::VectorXd& half_widths) const {
  const Certified of_product =
      product_.box_bound(half_widths) + product_rounding_ * Certified(norm_upper(half_widths));
  return tighter(of_product, decoder_.ball_bound(encoder_.box_bound(half_widths)));
}

}  // namespace kvalign
