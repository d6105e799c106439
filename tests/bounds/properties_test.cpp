// What must hold whatever the numbers: how bounds grow, scale and combine. rapidcheck draws the
// numbers and shrinks those that fail.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <limits>

#include "kvalign/bounds/gelu_bound.h"
#include "kvalign/bounds/quantisation_model.h"
#include "tests/bounds/true_bounds.h"

namespace kvalign {
namespace {

using testing::Random;

// A number in [low, high), of any of 10^6 places.
double drawn(double low, double high) {
  return low + (high - low) * *rc::gen::inRange(0, 1000000) * 1e-6;
}
uint64_t drawn_seed() {
  return static_cast<uint64_t>(*rc::gen::inRange(0, 1000000));
}

RC_GTEST_PROP(BoundProperties, ChordGrowsWithRadiusAndNeverExceedsTheDiameter, ()) {
  const double sigma = drawn(1e-3, 10), radius = drawn(0, 50), more = radius + drawn(0, 5);
  const int64_t width = *rc::gen::inRange(1, 5000);
  const Certified bound = norm_chord_bound(radius, sigma, width);
  RC_ASSERT(bound <= norm_chord_bound(more, sigma, width) * Certified(1 + 1e-14));
  RC_ASSERT(bound.value() <= 2 * std::sqrt(static_cast<double>(width)) * (1 + 1e-14));
  RC_ASSERT(radius == 0 || bound.value() >= std::min(radius / sigma, std::sqrt(2.0 * width)));
}

RC_GTEST_PROP(BoundProperties, CodeBoundsScaleWithPowersOfTwo, ()) {
  const auto code = static_cast<uint8_t>(*rc::gen::inRange(0, 0x7B));
  const Fp8Format format = *rc::gen::element(Fp8Format::kE4M3FN, Fp8Format::kE5M2);
  const Fp8Layout layout{1, 1, 1, ScaleGranularity::kTensor, format};
  const auto scale = static_cast<float>(drawn(0.5, 1));
  const int power = *rc::gen::inRange(-60, 60);
  const auto bound = [&](float scale) {
    return certify_codes(layout, {&code, 1}, {&scale, 1}, ScaleOrigin::kOwnAmax).bounds[0];
  };
  RC_ASSERT(bound(std::ldexp(scale, power)) == std::ldexp(bound(scale), power));
}

RC_GTEST_PROP(BoundProperties, ModelIsBelowTheCertificate, ()) {
  Random random(drawn_seed());
  const Eigen::VectorXd box = random.vector(1 + random.below(20)).cwiseAbs();
  RC_ASSERT(rms_model_of_codes(box) < norm_upper(box));
}

RC_GTEST_PROP(BoundProperties, GeluSlopeOfAnIntervalIsThatOfEveryPointInIt, ()) {
  const double low = drawn(-6, 6), high = low + drawn(0, 6), inside = drawn(low, high);
  RC_ASSERT(gelu_slope_bound(low, high).value() >=
            std::abs(gelu(inside + 1e-5) - gelu(inside - 1e-5)) / 2e-5 - 1e-8);
  RC_ASSERT(gelu_slope_bound(low, high).value() <= kLargestGeluSlope);
}

RC_GTEST_PROP(BoundProperties, SpectralNormIsHomogeneousAndSubmultiplicative, ()) {
  Random random(drawn_seed());
  const Eigen::MatrixXd left = random.matrix(4, 3), right = random.matrix(3, 5);
  const int power = *rc::gen::inRange(-300, 300);
  const Certified bound = spectral_norm_upper(left);
  RC_ASSERT(spectral_norm_upper(left * std::ldexp(1.0, power)).value() ==
            std::ldexp(bound.value(), power));
  RC_ASSERT(spectral_norm_upper(left * right).value() <=
            (bound * spectral_norm_upper(right)).value() * (1 + 1e-9));
}

RC_GTEST_PROP(BoundProperties, SmallerBoxesHaveSmallerBounds, ()) {
  Random random(drawn_seed());
  const testing::ProjectorCase whole = testing::random_mlp(random);
  testing::ProjectorCase half = whole;
  half.half_widths /= 2;
  RC_ASSERT(testing::mlp_bound(half) <= testing::mlp_bound(whole) * (1 + 1e-12));
  half.half_widths *= 0;
  RC_ASSERT(testing::mlp_bound(half) == 0);
}

RC_GTEST_PROP(BoundProperties, UnboundedElementsLeaveOnlyWhatTheNormBounds, ()) {
  Random random(drawn_seed());
  testing::ProjectorCase example = testing::random_linear(random);
  example.half_widths[0] = std::numeric_limits<double>::infinity();
  const double bound = testing::linear_bound(example);
  if (example.norm.kind == OutputNorm::kNone) RC_ASSERT(std::isinf(bound));
  if (example.norm.kind != OutputNorm::kNone) {
    const double most = 2 * std::sqrt(static_cast<double>(example.norm.gamma.size())) *
                        example.norm.gamma.cwiseAbs().maxCoeff();
    RC_ASSERT(bound >= most && bound <= most * (1 + 1e-13));
  }
}

RC_GTEST_PROP(BoundProperties, TotalVariationGrowsWithTauAndNeverExceedsTheGeneralBound, ()) {
  const double tau = drawn(0, 6), more = tau + drawn(0, 2), rest = drawn(0, 1);
  const Certified bound = total_variation_bound(tau, rest);
  RC_ASSERT(bound <= total_variation_bound(more, rest) * Certified(1 + 1e-12));
  RC_ASSERT(bound <= total_variation_bound(tau, 1));
  RC_ASSERT(total_variation_bound(0, rest).value() == 0);
}

RC_GTEST_PROP(BoundProperties, UntouchedTokensMoveNothing, ()) {
  Random random(drawn_seed());
  testing::MovedHead example = testing::random_head(random);
  example.perturbation.query_norm = 0;
  example.perturbation.key_norms.setZero();
  example.perturbation.value_norms.setZero();
  RC_ASSERT(testing::head_bound(example.head, example.perturbation) == 0);
}

RC_GTEST_PROP(BoundProperties, CertifiedDecisionsDoNotChange, ()) {
  Random random(drawn_seed());
  const Eigen::MatrixXd weight = random.matrix(5, 4);
  const Eigen::VectorXd bias = random.vector(5), input = random.vector(4);
  const LinearHead head(weight, bias);
  const DecisionMargin margin = head.margin(input);
  const Eigen::VectorXd direction = random.vector(4).normalized();
  const double length = margin.radius * (1 - 1e-12);
  RC_ASSERT(margin.certifies(Certified(length)));
  RC_ASSERT(head.margin(input + direction * length).decision == margin.decision);
  RC_ASSERT(!margin.certifies(Certified(margin.radius)));
}

RC_GTEST_PROP(BoundProperties, TiesAreNeverCertified, ()) {
  Random random(drawn_seed());
  Eigen::MatrixXd weight = random.matrix(3, 4);
  Eigen::VectorXd input = random.vector(4), bias = Eigen::VectorXd::Constant(3, -1e6);
  weight.row(1) = weight.row(0);
  bias[0] = bias[1] = 0;
  RC_ASSERT(LinearHead(weight, bias).margin(input).radius == 0);
}

RC_GTEST_PROP(BoundProperties, RateLimitsOrder, ()) {
  const int64_t trials = *rc::gen::inRange(1, 500),
                events = *rc::gen::inRange<int64_t>(0, trials + 1);
  const double confidence = drawn(0.6, 0.999);
  const double rate = static_cast<double>(events) / static_cast<double>(trials);
  RC_ASSERT(rate_lower({events, trials}, confidence).value() <= rate);
  RC_ASSERT(rate_upper({events, trials}, confidence).value() >= rate);
}

}  // namespace
}  // namespace kvalign
