// The library's bounds in the form that the checks take.
#pragma once

#include "kvalign/bounds/low_rank_certificate.h"
#include "kvalign/bounds/spectral_norm.h"
#include "tests/bounds/attention_checks.h"
#include "tests/bounds/margin_checks.h"
#include "tests/bounds/projector_checks.h"
#include "tests/bounds/quantisation_checks.h"
#include "tests/bounds/spectral_checks.h"
#include "tests/bounds/statistics_checks.h"

namespace kvalign::testing {

inline double prior_bound(const TokenMagnitude& token, float scale, Fp8Format format) {
  return a_priori_token_bound(token, scale, format).value();
}
inline double chord_bound(double radius, double sigma, int64_t width) {
  return norm_chord_bound(radius, sigma, width).value();
}
inline double cholesky_bound(const Eigen::MatrixXd& matrix) {
  return spectral_norm_upper(matrix).value();
}

inline double linear_bound(const ProjectorCase& example) {
  return LinearCertificate(example.weight, example.bias, example.norm)
      .bound(example.decoded, example.half_widths)
      .value();
}
inline double mlp_bound(const ProjectorCase& example) {
  return MlpCertificate(example.mlp, example.norm)
      .bound(example.decoded, example.half_widths)
      .value();
}
inline double residual_mlp_bound(const ProjectorCase& example) {
  return ResidualMlpCertificate(example.weight, example.mlp)
      .bound(example.decoded, example.half_widths)
      .value();
}
inline double latent_bound(const ProjectorCase& example) {
  const Eigen::Index rank = example.weight.cols();
  return LowRankCertificate(Eigen::MatrixXd::Identity(rank, rank), example.weight)
      .latent_bound(example.half_widths)
      .value();
}
// D E with a latent of the outputs' width: E is the map, D the identity.
inline double low_rank_cache_bound(const ProjectorCase& example) {
  const Eigen::Index rank = example.weight.rows();
  return LowRankCertificate(example.weight, Eigen::MatrixXd::Identity(rank, rank))
      .cache_bound(example.half_widths)
      .value();
}

inline double head_bound(const AttentionHead& head, const HeadPerturbation& perturbation) {
  return attention_head_bound(head, perturbation).bound.value();
}
inline double margin_bound(const Eigen::MatrixXd& weight, const Eigen::VectorXd& bias,
                           const Eigen::VectorXd& input) {
  return LinearHead(weight, bias).margin(input).radius;
}
inline double pooled_bound(const std::vector<Certified>& tokens) {
  return mean_pooled_bound(tokens).value();
}
inline double rank_floor_value(const Eigen::MatrixXd& covariance, int64_t dimensions) {
  return rank_floor(covariance, dimensions).value();
}

inline MeanLimit mean_limit(MeanMethod method) {
  return [method](std::span<const double> samples, const DeclaredRange& range, double confidence) {
    return mean_upper(samples, range, confidence, method).value();
  };
}
inline double conformal_rule(std::span<const double> samples, double coverage) {
  return conformal_limit(samples, coverage).value();
}
inline double rate_upper_value(const EventCount& count, double confidence) {
  return rate_upper(count, confidence).value();
}
inline double rate_lower_value(const EventCount& count, double confidence) {
  return rate_lower(count, confidence).value();
}
inline double degradation_value(const PairedOutcomes& outcomes, double confidence) {
  return degradation_upper(outcomes, confidence).value();
}

}  // namespace kvalign::testing
