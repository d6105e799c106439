// Every check of what callers pass fires and says where, what was expected and what came.
#include <limits>

#include "kvalign/bounds/gelu_bound.h"
#include "tests/bounds/true_bounds.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
const Eigen::MatrixXd kWeight = Eigen::MatrixXd::Ones(3, 2);
const Eigen::VectorXd kTwo = Eigen::VectorXd::Ones(2), kThree = Eigen::VectorXd::Ones(3);
const OutputNormParameters kNoNorm;

TEST(Refusals, Codes) {
  const Fp8Layout layout{1, 1, 2, ScaleGranularity::kTensor, Fp8Format::kE4M3FN};
  const std::vector<uint8_t> codes = {1, 2}, three = {1, 2, 3}, not_a_number = {1, 0x7F};
  const std::vector<float> scales = {1.0f}, zero = {0.0f};
  const auto certify = [&](const auto& codes, const auto& scales) {
    return certify_codes(layout, codes, scales, ScaleOrigin::kOwnAmax);
  };
  EXPECT_THROWS_WITH(certify(three, scales), "expected 1 x 1 x 2 codes and 1 scales, got 3 and 1");
  EXPECT_THROWS_WITH(certify(codes, zero), "expected scales of the encoder, got 0 at 0");
  EXPECT_THROWS_WITH(certify(not_a_number, scales), "expected codes of numbers, got 127 at 1");
  EXPECT_THROWS_WITH(a_priori_token_bound({-1, 1, 2}, 1, Fp8Format::kE4M3FN),
                     "expected a finite norm, amax and width >= 0, got -1");
  EXPECT_THROWS_WITH(a_priori_token_bound({1, 1, 2}, 0, Fp8Format::kE4M3FN),
                     "expected an FP8 scale, got 0");
}

TEST(Refusals, Norms) {
  EXPECT_THROWS_WITH(norm_chord_bound(-1, 1, 2), "expected radius and sigma >= 0");
  EXPECT_THROWS_WITH(norm_chord_bound(1, 1, 0), "a width > 0, got 1, 1 and 0");
  EXPECT_THROWS_WITH(norm_chord_bound(kNan, 1, 2), "norm_chord_bound: expected radius");
  EXPECT_THROWS_WITH(spectral_norm_upper(kWeight * kNan), "got NaN or infinity in a 3 x 2 matrix");
  const OutputNormParameters short_gamma{OutputNorm::kLayer, 1e-5, kTwo};
  EXPECT_THROWS_WITH(LinearCertificate(kWeight, {}, short_gamma),
                     "expected a finite gamma of 3 numbers, got 2");
  const OutputNormParameters negative{OutputNorm::kRms, -1, kThree};
  EXPECT_THROWS_WITH(LinearCertificate(kWeight, {}, negative), "expected a finite epsilon >= 0");
}

TEST(Refusals, Projectors) {
  EXPECT_THROWS_WITH(LinearMap({}, {}), "expected a weight of at least 1 x 1, got 0 x 0");
  EXPECT_THROWS_WITH(LinearMap(kWeight, kTwo), "expected a bias of 3 numbers or none, got 2");
  EXPECT_THROWS_WITH(LinearMap(kWeight * kNan, {}), "expected finite weights and biases");
  const LinearMap map(kWeight, {});
  EXPECT_THROWS_WITH(map.apply(kThree), "LinearMap::apply: expected 2 numbers, got 3");
  EXPECT_THROWS_WITH(map.output_box(kThree), "LinearMap::output_box: expected 2 numbers, got 3");
  EXPECT_THROWS_WITH(map.box_bound(kThree), "LinearMap::box_bound: expected 2 numbers, got 3");
  EXPECT_THROWS_WITH(map.box_bound(-kTwo), "expected half widths >= 0, got -1");
  EXPECT_THROWS_WITH(MlpCertificate({kWeight, {}, kWeight, {}}, kNoNorm),
                     "expected an output layer that reads 3 hidden units, got one that reads 2");
  EXPECT_THROWS_WITH(LowRankCertificate(kWeight, kWeight),
                     "expected a decoder that reads 3 latent numbers, got one that reads 2");
  EXPECT_THROWS_WITH(gelu_slope_bound(2, 1), "expected low <= high, got 2 and 1");
}

TEST(Refusals, Attention) {
  const AttentionHead head{kTwo, kWeight, kWeight};
  const auto bound = [](const AttentionHead& head, double query, const Eigen::VectorXd& norms,
                        std::optional<Eigen::MatrixXd> moved = {}) {
    return attention_head_bound(head, {query, norms, norms, moved});
  };
  EXPECT_THROWS_WITH(bound(head, 0, kTwo), "got keys 3 x 2, values of 3 tokens, 2 and 2 norms");
  EXPECT_THROWS_WITH(bound({kThree, kWeight, kWeight}, 0, kThree), "expected keys [T, 3]");
  EXPECT_THROWS_WITH(bound({kTwo, kWeight, kWeight * kNan}, 0, kThree),
                     "expected finite queries, keys and values");
  EXPECT_THROWS_WITH(bound(head, -1, kThree), "expected norms of moves >= 0");
  EXPECT_THROWS_WITH(bound(head, 0, kThree * kNan), "expected norms of moves >= 0");
  EXPECT_THROWS_WITH(bound(head, 0, kThree, Eigen::MatrixXd::Ones(2, 2)),
                     "expected finite moved values of the shape of values, 3 x 2");
  EXPECT_THROWS_WITH(total_variation_bound(-1, 0), "expected tau >= 0 and rest >= 0");
  const std::vector<KvHead> two(2, KvHead{kWeight, kWeight, kThree, kThree});
  EXPECT_THROWS_WITH(grouped_query_bounds(Eigen::MatrixXd::Ones(3, 2), kThree, two),
                     "expected a multiple of 2 query heads and a norm for each, got 3 and 3");
  EXPECT_THROWS_WITH(OutputProjectionCertificate(kWeight, 3),
                     "expected a number of columns that 3 heads divide, got 2");
  const std::vector<Certified> one = {Certified(1)};
  EXPECT_THROWS_WITH(OutputProjectionCertificate(kWeight, 2).bound(one),
                     "expected 2 head bounds, got 1");
  EXPECT_THROWS_WITH(certified_amplification(Certified(1), Measured(0), Measured(1)),
                     "expected an output norm and a relative move > 0, got 0 and 1");
  EXPECT_THROWS_WITH(measured_amplification(Measured(1), Measured(1), Measured(0)),
                     "expected an output norm and a relative move > 0, got 1 and 0");
}

TEST(Refusals, Decisions) {
  EXPECT_THROWS_WITH(LinearHead({}, {}), "expected a weight of at least 1 x 1, got 0 x 0");
  EXPECT_THROWS_WITH(LinearHead(kWeight, kTwo), "expected a bias of 3 numbers or none, got 2");
  EXPECT_THROWS_WITH(LinearHead(kWeight * kNan, {}), "expected finite weights and biases");
  EXPECT_THROWS_WITH(LinearHead(kWeight, {}).margin(kThree), "expected 2 features, got 3");
  EXPECT_THROWS_WITH(mean_pooled_bound({}), "expected at least one token, got none");
  EXPECT_THROWS_WITH(rank_floor(kWeight, 1), "expected a finite square covariance");
  EXPECT_THROWS_WITH(norm_floor({}, 3), "expected at least one row, got none");
}

TEST(Refusals, Statistics) {
  const std::vector<double> samples = {0.5, 2}, one = {0.5}, none, nan = {kNan};
  const auto upper = [](const auto& samples, DeclaredRange range, double confidence) {
    return mean_upper(samples, range, confidence, MeanMethod::kEmpiricalBernstein);
  };
  EXPECT_THROWS_WITH(upper(samples, {0, 1}, 0.9), "expected samples in [0, 1], got 2");
  EXPECT_THROWS_WITH(upper(one, {0, 1}, 0.9), "expected at least 2 samples, got 1");
  EXPECT_THROWS_WITH(upper(samples, {1, 1}, 0.9), "expected a range with low < high, got 1 to 1");
  EXPECT_THROWS_WITH(upper(samples, {0, 3}, 1), "expected a confidence in (0, 1), got 1");
  EXPECT_THROWS_WITH(tolerance_rank(0, 0.9, 0.9), "expected at least one sample, got 0");
  EXPECT_THROWS_WITH(tolerance_rank(9, 1, 0.9), "expected a coverage in (0, 1), got 1");
  EXPECT_THROWS_WITH(tolerance_rank(9, 0.9, 0), "expected a confidence in (0, 1), got 0");
  EXPECT_THROWS_WITH(conformal_limit(nan, 0.9), "expected samples without NaN");
  EXPECT_THROWS_WITH(conformal_limit(none, 0.9), "expected samples without NaN, got 0 samples");
  EXPECT_THROWS_WITH(rate_upper({3, 2}, 0.9), "expected 0 <= events <= trials");
  EXPECT_THROWS_WITH(rate_lower({1, 2}, 2), "expected a confidence in (0, 1), got 2");
  EXPECT_THROWS_WITH(degradation_upper({5, 3, 3}, 0.9), "expected at most 5 disagreements");
  EXPECT_THROWS_WITH(simultaneous_confidence(0.9, 0), "expected at least one statement, got 0");
}

}  // namespace
}  // namespace kvalign
