// Every certificate against random and adversarial inputs: no violation, without tolerance, and how
// much of each bound was used. slow/certificates_slow_test.cpp runs the same for longer.
#include "tests/bounds/true_bounds.h"

namespace kvalign {
namespace {

using namespace testing;

TEST(Certificates, CodeOnly) {
  expect_no_violation("FP8 codes", check_code_bound(certify_codes, 700000, 1));
}
TEST(Certificates, APriori) {
  expect_no_violation("FP8 a priori, token", check_prior_bound(prior_bound, 60000, 2));
}
TEST(Certificates, Chord) {
  expect_no_violation("norm chord", check_chord_bound(chord_bound, 60000, 3));
}
TEST(Certificates, Sigma) {
  expect_no_violation("norm sigma, lower", check_sigma_bound(sigma_lower, 20000, 4));
}

TEST(Certificates, SpectralNorm) {
  expect_no_violation("spectral norm S3, Cholesky", check_spectral_bound(cholesky_bound, 400, 5));
  expect_no_violation(
      "spectral norm S1, Gram matrix",
      check_spectral_bound([](const auto& a) { return spectral_norm_gram(a).value(); }, 400, 5));
  expect_no_violation(
      "spectral norm S2, Gram iteration",
      check_spectral_bound([](const auto& a) { return spectral_norm_gram_iteration(a).value(); },
                           400, 5));
}
TEST(Certificates, SpectralNormsAgree) {
  Random random(6);
  for (int trial = 0; trial < 100; ++trial) {
    const Eigen::MatrixXd matrix = hard_matrix(random);
    const double gram_iteration = spectral_norm_gram_iteration(matrix).value();
    EXPECT_LE(spectral_norm_upper(matrix).value(), gram_iteration * (1 + 1e-9));
    // n^(1/4096) is what ten squarings leave of the Frobenius norm's looseness.
    const auto truth = static_cast<double>(wide_spectral_norm(matrix));
    EXPECT_LE(gram_iteration, truth * std::pow(20, 1.0 / 4096) * (1 + 1e-9));
  }
}
TEST(Certificates, CentredWeights) {
  Random random(7);
  for (int trial = 0; trial < 200; ++trial) {
    const Eigen::MatrixXd weight =
        hard_matrix(random).array() + (trial % 2 ? 1e8 * random.normal() : 0);
    const CentredMatrix centred = centre_columns(weight);
    // P W v in wide arithmetic against P W as rounded.
    const Eigen::VectorXd direction = random.vector(weight.cols());
    const WideVector rounded = times(centred.matrix, widened(direction));
    const WideVector exact = wide_without_mean(times(weight, widened(direction)));
    EXPECT_LE(norm(difference(rounded, exact)),
              centred.rounding.value() * norm(widened(direction)));
  }
}

TEST(Certificates, Linear) {
  expect_no_violation("linear, each norm: box attack",
                      check_projector(random_linear, linear_bound, 3000, 8));
  expect_no_violation("linear 96 -> 384, LayerNorm: box attack",
                      check_wide_projector({96, 384}, linear_bound, 8, 9));
}
TEST(Certificates, Mlp) {
  expect_no_violation("mlp, each norm: box attack",
                      check_projector(random_mlp, mlp_bound, 1500, 10));
  expect_no_violation("residual_mlp: box attack",
                      check_projector(random_residual_mlp, residual_mlp_bound, 500, 11));
}
TEST(Certificates, LowRank) {
  expect_no_violation("low_rank, latent rounded",
                      check_projector(random_latent, latent_bound, 2000, 12));
  expect_no_violation("low_rank, cache rounded",
                      check_projector(random_latent, low_rank_cache_bound, 2000, 13));
}

TEST(Certificates, TotalVariation) {
  expect_no_violation("softmax, total variation",
                      check_total_variation(total_variation_from_scores, 60000, 14));
}
TEST(Certificates, AttentionHead) {
  expect_no_violation("attention head, least of A to D",
                      check_attention_head(head_bound, 15000, 15));
  const auto each = [](Certified HeadBound::*bound) {
    return [bound](const AttentionHead& head, const HeadPerturbation& perturbation) {
      return (attention_head_bound(head, perturbation).*bound).value();
    };
  };
  expect_no_violation("attention head, A", check_attention_head(each(&HeadBound::a), 5000, 16));
  expect_no_violation("attention head, B", check_attention_head(each(&HeadBound::b), 5000, 16));
  expect_no_violation("attention head, C", check_attention_head(each(&HeadBound::c), 5000, 16));
  expect_no_violation("attention head, D", check_attention_head(each(&HeadBound::d), 5000, 16));
}
TEST(Certificates, AttentionLayer) {
  expect_no_violation("attention layer, GQA through W_O",
                      check_attention_layer(library_layer_bound, 2000, 17));
}

TEST(Certificates, Margin) {
  expect_no_violation("decision margin", check_margin(margin_bound, 40000, 18));
}
TEST(Certificates, MeanPooled) {
  expect_no_violation("mean-pooled tokens", check_pooled(pooled_bound, 5000, 19));
}
TEST(Certificates, RankFloor) {
  expect_no_violation("rank floor", check_rank_floor(rank_floor_value, 2000, 20));
}

TEST(Certificates, NormsAreNotBelowTheExactOnes) {
  Random random(21);
  Tightness result;
  for (int trial = 0; trial < 20000; ++trial) {
    const Eigen::VectorXd vector = random.vector(1 + random.below(40)) * random.power(-300, 300);
    result.add(norm(widened(vector)), norm_upper(vector));
  }
  expect_no_violation("2-norm, rounded upwards", result);
  EXPECT_EQ(norm_upper(Eigen::VectorXd::Zero(3)), 0);
  EXPECT_TRUE(std::isinf(norm_upper(Eigen::VectorXd::Constant(2, INFINITY))));
}

}  // namespace
}  // namespace kvalign
