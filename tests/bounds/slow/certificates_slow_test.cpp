// The trials of certificates_test.cpp for longer: KVALIGN_BOUND_TRIALS trials in all (3,000,000
// without it; 100000000 by hand takes five minutes), shared as their costs allow.
#include <cstdlib>

#include "tests/bounds/true_bounds.h"

namespace kvalign::testing {
namespace {

struct LongCheck {
  const char* name;
  double share;  // of all trials
  std::function<Tightness(int64_t trials, uint64_t seed)> run;
};

int64_t trials_in_all() {
  const char* given = std::getenv("KVALIGN_BOUND_TRIALS");
  return given == nullptr ? 3000000 : std::atoll(given);
}

class LongCertificates : public ::testing::TestWithParam<LongCheck> {};

TEST_P(LongCertificates, HoldWithoutTolerance) {
  const auto trials = static_cast<int64_t>(static_cast<double>(trials_in_all()) * GetParam().share);
  expect_no_violation(GetParam().name, GetParam().run(std::max<int64_t>(trials, 1), 1000));
}

template <class Check, class Bound>
auto run(Check check, Bound bound) {
  return [=](int64_t trials, uint64_t seed) { return check(bound, trials, seed); };
}
auto projector(ProjectorCase (*make)(Random&), double (*bound)(const ProjectorCase&)) {
  return [=](int64_t trials, uint64_t seed) { return check_projector(make, bound, trials, seed); };
}

TEST(FullSize, LinearFrom512To4096) {
  expect_no_violation("linear 512 -> 4096, LayerNorm: box attack",
                      check_wide_projector({512, 4096}, linear_bound, 3, 1000));
}

INSTANTIATE_TEST_SUITE_P(
    All, LongCertificates,
    ::testing::Values(
        LongCheck{"Codes", 0.8, run(check_code_bound, certify_codes)},
        LongCheck{"APriori", 0.06, run(check_prior_bound, prior_bound)},
        LongCheck{"Chord", 0.05, run(check_chord_bound, chord_bound)},
        LongCheck{"TotalVariation", 0.04, run(check_total_variation, total_variation_from_scores)},
        LongCheck{"Margin", 0.03, run(check_margin, margin_bound)},
        LongCheck{"AttentionHead", 0.01, run(check_attention_head, head_bound)},
        LongCheck{"AttentionLayer", 0.002, run(check_attention_layer, library_layer_bound)},
        LongCheck{"Spectral", 0.002, run(check_spectral_bound, cholesky_bound)},
        LongCheck{"Linear", 0.003, projector(random_linear, linear_bound)},
        LongCheck{"Mlp", 0.001, projector(random_mlp, mlp_bound)},
        LongCheck{"ResidualMlp", 0.001, projector(random_residual_mlp, residual_mlp_bound)},
        LongCheck{"Latent", 0.001, projector(random_latent, latent_bound)}),
    [](const auto& check) { return check.param.name; });

}  // namespace
}  // namespace kvalign::testing
