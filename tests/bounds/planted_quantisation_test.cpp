// Wrong variants of the FP8, norm and spectral-norm bounds, each caught by the check that the right
// one passes.
#include <Eigen/SVD>

#include "kvalign/bounds/quantisation_model.h"
#include "tests/bounds/planted_bugs.h"

namespace kvalign::testing {
namespace {

class PlantedQuantisation : public PlantedBugs {};
TEST_P(PlantedQuantisation, IsCaught) {
  EXPECT_GT(GetParam().checked().violations(), 0);
}

// certify_codes with every bound changed by `change(bound, scale, magnitude of the code)`.
template <class Change>
std::function<Tightness()> codes(Change change) {
  return [change] {
    return check_code_bound(
        [change](const Fp8Layout& layout, auto codes, auto scales, ScaleOrigin origin) {
          CodeBounds result = certify_codes(layout, codes, scales, origin);
          for (size_t i = 0; i < codes.size(); ++i) {
            const size_t channel = i % layout.head_dim, row = i / layout.head_dim;
            const double scale = scales[fp8_scale_index(layout, row / layout.num_kv_heads,
                                                        row % layout.num_kv_heads, channel)];
            double& bound = result.bounds[static_cast<Eigen::Index>(i)];
            bound = change(bound, scale, std::abs(decode_fp8(codes[i], layout.format)));
          }
          return result;
        },
        60000, 1);
  };
}

CodeBounds first_scale_for_all(const Fp8Layout& layout, std::span<const uint8_t> codes,
                               std::span<const float> scales, ScaleOrigin origin) {
  const std::vector<float> first(scales.size(), scales[0]);
  return certify_codes(layout, codes, first, origin);
}
CodeBounds other_format(Fp8Layout layout, std::span<const uint8_t> codes,
                        std::span<const float> scales, ScaleOrigin origin) {
  CodeBounds result = certify_codes(layout, codes, scales, origin);
  for (size_t i = 0; i < codes.size(); ++i) {
    double& bound = result.bounds[static_cast<Eigen::Index>(i)];
    if (layout.format == Fp8Format::kE5M2 && std::isfinite(bound)) bound /= 2;
  }
  return result;
}
CodeBounds saturation_ignored(const Fp8Layout& layout, std::span<const uint8_t> codes,
                              std::span<const float> scales, ScaleOrigin) {
  return certify_codes(layout, codes, scales, ScaleOrigin::kOwnAmax);
}
CodeBounds saturation_not_counted(const Fp8Layout& layout, std::span<const uint8_t> codes,
                                  std::span<const float> scales, ScaleOrigin origin) {
  CodeBounds result = certify_codes(layout, codes, scales, origin);
  result.num_unbounded = 0;
  return result;
}
CodeBounds blocks_like_others(Fp8Layout layout, std::span<const uint8_t> codes,
                              std::span<const float> scales, ScaleOrigin origin) {
  CodeBounds result = certify_codes(layout, codes, scales, origin);
  for (size_t i = 0; i < codes.size(); ++i) {
    const size_t channel = i % layout.head_dim, row = i / layout.head_dim;
    const double scale = scales[fp8_scale_index(layout, row / layout.num_kv_heads,
                                                row % layout.num_kv_heads, channel)];
    double& bound = result.bounds[static_cast<Eigen::Index>(i)];
    if (std::isfinite(bound)) {
      bound = std::min(bound, scale * fp8_half_gap(codes[i], layout.format) * (1 + 0x1p-15));
    }
  }
  return result;
}

Tightness check_prior(const PriorBound& bound) {
  return check_prior_bound(bound, 20000, 2);
}
double u_of(Fp8Format format) {
  return std::ldexp(1.0, -fp8_mantissa_bits(format) - 1);
}

double no_subnormal_floor(const TokenMagnitude& token, float scale, Fp8Format format) {
  const double u = u_of(format);
  return token.amax > scale * fp8_largest(format) ? prior_bound(token, scale, format)
                                                  : (u / (1 + u) + 1e-6) * token.norm;
}
double no_clipping(TokenMagnitude token, float scale, Fp8Format format) {
  token.amax = std::min<double>(token.amax, scale * fp8_largest(format));
  return prior_bound(token, scale, format);
}
double of_one_element(TokenMagnitude token, float scale, Fp8Format format) {
  const bool clips = token.amax > scale * fp8_largest(format);
  return clips ? prior_bound(token, scale, format)
               : scale * fp8_half_gap(static_cast<uint8_t>(fp8_largest_code(format)), format) *
                     (1 + 1e-5);
}
double rms_as_certificate(const TokenMagnitude& token, float scale, Fp8Format format) {
  return rms_model_relative(format) * token.norm +
         std::sqrt(static_cast<double>(token.width)) * scale * 0x1p-9;
}
double e4m3_for_both(const TokenMagnitude& token, float scale, Fp8Format) {
  return prior_bound(token, scale, Fp8Format::kE4M3FN);
}

Tightness check_chord(const ChordBound& bound) {
  return check_chord_bound(bound, 10000, 3);
}
double kappa_of(double radius, double sigma, int64_t width) {
  return radius / (sigma * std::sqrt(static_cast<double>(width)));
}
double ratio_only(double radius, double sigma, int64_t) {
  return raised(radius / sigma, 8);
}
double ratio_capped_at_tangent(double radius, double sigma, int64_t width) {
  const double root = std::sqrt(static_cast<double>(width));
  return kappa_of(radius, sigma, width) < 1 ? chord_bound(radius, sigma, width)
                                            : root * std::sqrt(2.0) * (1 + 1e-12);
}
double cancelling_form(double radius, double sigma, int64_t width) {
  const double kappa = kappa_of(radius, sigma, width);
  const double root = std::sqrt(static_cast<double>(width));
  return kappa < 1 ? root * std::sqrt(2 - 2 * std::sqrt(1 - kappa * kappa)) : 2 * root;
}
double rounding_dropped(double radius, double sigma, int64_t width) {
  const double kappa = kappa_of(radius, sigma, width);
  return kappa < 1 ? radius / sigma * std::sqrt(2 / (1 + std::sqrt(1 - kappa * kappa)))
                   : 2 * std::sqrt(static_cast<double>(width));
}
double root_of_width_dropped(double radius, double sigma, int64_t) {
  return chord_bound(radius, sigma, 1);
}

Tightness check_sigma(const SigmaBound& bound) {
  return check_sigma_bound(bound, 5000, 4);
}
double epsilon_dropped(const ApproximateVector& vector, double) {
  return sigma_lower(vector, 0);
}
double epsilon_outside_root(const ApproximateVector& vector, double epsilon) {
  return sigma_lower(vector, 0) + epsilon;
}
double error_of_centre_dropped(const ApproximateVector& vector, double epsilon) {
  return sigma_lower({vector.value, 0}, epsilon);
}
double divided_by_width_less_one(const ApproximateVector& vector, double epsilon) {
  const double width = static_cast<double>(vector.value.size());
  return sigma_lower({vector.value * std::sqrt(width / std::max(width - 1, 0.5)), vector.error},
                     epsilon);
}

Tightness check_spectral(const SpectralBound& bound) {
  return check_spectral_bound(bound, 300, 5);
}
double power_iteration(const Eigen::MatrixXd& matrix) {
  Eigen::VectorXd vector = Eigen::VectorXd::Ones(matrix.cols()).normalized();
  for (int step = 0; step < 20; ++step) {
    const Eigen::VectorXd next = matrix.transpose() * (matrix * vector);
    if (next.norm() == 0) return 0;
    vector = next.normalized();
  }
  return (matrix * vector).norm();
}
double singular_value_without_rounding(const Eigen::MatrixXd& matrix) {
  return Eigen::JacobiSVD<Eigen::MatrixXd>(matrix).singularValues()[0];
}
double without_rescaling(const Eigen::MatrixXd& matrix) {
  const Eigen::MatrixXd gram = matrix.transpose() * matrix;
  return std::sqrt(gram.norm()) * (1 + 1e-9);
}
double largest_column(const Eigen::MatrixXd& matrix) {
  return matrix.colwise().norm().maxCoeff() * (1 + 1e-9);
}
double largest_entry_times_root(const Eigen::MatrixXd& matrix) {
  return matrix.cwiseAbs().maxCoeff() * std::sqrt(static_cast<double>(matrix.rows())) * (1 + 1e-9);
}
double one_squaring_too_many_roots(const Eigen::MatrixXd& matrix) {
  return std::pow(spectral_norm_gram_iteration(matrix).value(), 0.5) * (1 + 1e-9);
}

INSTANTIATE_TEST_SUITE_P(
    Codes, PlantedQuantisation,
    ::testing::Values(
        PlantedBug{"HalfOfTheHalfGap", codes([](double h, double, double) { return h / 2; })},
        PlantedBug{"Float32RoundingDropped", codes([](double h, double s, double v) {
                     return std::isinf(h) ? h : (h - s * 0x1p-22 * v) / (1 + 0x1p-22);
                   })},
        PlantedBug{"RelativeErrorOfTheDecodedValue", codes([](double h, double s, double v) {
                     return std::isinf(h) ? h : s * v / 17 * (1 + 1e-5);
                   })},
        PlantedBug{"RmsModelAsCodeCertificate",
                   codes([](double h, double, double) { return h / std::sqrt(3.0); })},
        PlantedBug{"OneScaleForAllTokens",
                   [] { return check_code_bound(first_scale_for_all, 60000, 1); }},
        PlantedBug{"MantissaBitsOfE4M3ForE5M2",
                   [] { return check_code_bound(other_format, 60000, 1); }},
        PlantedBug{"SaturationIgnored",
                   [] { return check_code_bound(saturation_ignored, 60000, 1); }},
        PlantedBug{"SaturationNotCounted",
                   [] { return check_code_bound(saturation_not_counted, 60000, 1); }},
        PlantedBug{"TopOfBlocksLikeOthers",
                   [] { return check_code_bound(blocks_like_others, 60000, 1); }}),
    name_of_bug);

INSTANTIATE_TEST_SUITE_P(
    APriori, PlantedQuantisation,
    ::testing::Values(
        PlantedBug{"SubnormalFloorDropped", [] { return check_prior(no_subnormal_floor); }},
        PlantedBug{"ClippingDropped", [] { return check_prior(no_clipping); }},
        PlantedBug{"OneElementForTheToken", [] { return check_prior(of_one_element); }},
        PlantedBug{"RmsModelAsPriorCertificate", [] { return check_prior(rms_as_certificate); }},
        PlantedBug{"E4M3ForBothFormats", [] { return check_prior(e4m3_for_both); }}),
    name_of_bug);

INSTANTIATE_TEST_SUITE_P(
    Norm, PlantedQuantisation,
    ::testing::Values(
        PlantedBug{"RadiusOverSigmaWithoutChord", [] { return check_chord(ratio_only); }},
        PlantedBug{"TangentBeyondTheOrigin", [] { return check_chord(ratio_capped_at_tangent); }},
        PlantedBug{"ChordThatCancels", [] { return check_chord(cancelling_form); }},
        PlantedBug{"ChordWithoutRounding", [] { return check_chord(rounding_dropped); }},
        PlantedBug{"RootOfWidthDropped", [] { return check_chord(root_of_width_dropped); }},
        PlantedBug{"EpsilonDropped", [] { return check_sigma(epsilon_dropped); }},
        PlantedBug{"EpsilonOutsideTheRoot", [] { return check_sigma(epsilon_outside_root); }},
        PlantedBug{"ErrorOfTheCentreDropped", [] { return check_sigma(error_of_centre_dropped); }},
        PlantedBug{"VarianceWithDivisorLessOne",
                   [] { return check_sigma(divided_by_width_less_one); }}),
    name_of_bug);

INSTANTIATE_TEST_SUITE_P(
    Spectral, PlantedQuantisation,
    ::testing::Values(
        PlantedBug{"PowerIterationAsUpperBound", [] { return check_spectral(power_iteration); }},
        PlantedBug{"SingularValueWithoutRounding",
                   [] { return check_spectral(singular_value_without_rounding); }},
        PlantedBug{"GramMatrixThatUnderflows", [] { return check_spectral(without_rescaling); }},
        PlantedBug{"LargestColumn", [] { return check_spectral(largest_column); }},
        PlantedBug{"LargestEntryTimesRoot",
                   [] { return check_spectral(largest_entry_times_root); }},
        PlantedBug{"OneRootTooMany", [] { return check_spectral(one_squaring_too_many_roots); }}),
    name_of_bug);

}  // namespace
}  // namespace kvalign::testing
