// Statistical limits: how often they miss, against exact binomial sums, and figures of textbooks.
#include "tests/bounds/true_bounds.h"

namespace kvalign {
namespace {

using namespace testing;

TEST(Statistics, LimitsOfMeansMissNoMoreOftenThanTheySay) {
  for (const MeanMethod method :
       {MeanMethod::kHoeffding, MeanMethod::kEmpiricalBernstein, MeanMethod::kBetting}) {
    EXPECT_EQ(check_mean_limit(mean_limit(method), 1000, 1).violations(), 0)
        << static_cast<int>(method);
  }
}
TEST(Statistics, LowerLimitsMirrorUpperOnes) {
  const std::vector<double> samples = {0.25, 0.5, 0.125, 0.75};
  std::vector<double> mirrored;
  for (const double sample : samples) mirrored.push_back(1 - sample);
  for (const MeanMethod method :
       {MeanMethod::kHoeffding, MeanMethod::kEmpiricalBernstein, MeanMethod::kBetting}) {
    EXPECT_NEAR(mean_lower(samples, {}, 0.9, method).value(),
                1 - mean_upper(mirrored, {}, 0.9, method).value(), 1e-12);
  }
}
TEST(Statistics, BettingIsTighterThanBernsteinAndHoeffdingForSmallVariance) {
  Random random(2);
  std::vector<double> samples(1000);
  for (double& sample : samples) sample = std::pow(random.uniform(0, 1), 8);
  const double hoeffding = mean_upper(samples, {}, 0.95, MeanMethod::kHoeffding).value();
  const double bernstein = mean_upper(samples, {}, 0.95, MeanMethod::kEmpiricalBernstein).value();
  const double betting = mean_upper(samples, {}, 0.95, MeanMethod::kBetting).value();
  std::printf("[ excess   ] n 1000: Hoeffding %.4f, empirical Bernstein %.4f, betting %.4f\n",
              hoeffding - 1.0 / 9, bernstein - 1.0 / 9, betting - 1.0 / 9);
  EXPECT_LT(bernstein, hoeffding);
  EXPECT_LT(betting, bernstein);
}
TEST(Statistics, LimitsOfMeansStayInTheRange) {
  const std::vector<double> all_high(5, 7.0), one = {3.0};
  for (const MeanMethod method : {MeanMethod::kHoeffding, MeanMethod::kBetting}) {
    EXPECT_EQ(mean_upper(all_high, {2, 7}, 0.9, method).value(), 7);
    EXPECT_LE(mean_upper(one, {2, 7}, 0.9, method).value(), 7);
  }
}

TEST(Statistics, ToleranceRankIsTheSmallestThatIsEnough) {
  EXPECT_EQ(check_tolerance_rank(tolerance_rank).violations(), 0);
  EXPECT_EQ(tolerance_rank(58, 0.95, 0.95), std::nullopt);
  EXPECT_EQ(tolerance_rank(59, 0.95, 0.95), 59);
  EXPECT_EQ(tolerance_rank(1000, 0.95, 0.95), 962);
}
TEST(Statistics, ToleranceLimitIsTheSampleOfThatRank) {
  std::vector<double> samples;
  for (int i = 1000; i >= 1; --i) samples.push_back(i);
  EXPECT_EQ(tolerance_limit(samples, 0.95, 0.95).value(), 962);
  EXPECT_TRUE(std::isinf(tolerance_limit({samples.data(), 58}, 0.95, 0.95).value()));
}
TEST(Statistics, ConformalLimitCoversTheNextSample) {
  EXPECT_EQ(check_conformal(conformal_rule).violations(), 0);
}
TEST(Statistics, RateLimitsMissNoMoreOftenThanTheySay) {
  EXPECT_EQ(check_rate_limit(rate_upper_value, true).violations(), 0);
  EXPECT_EQ(check_rate_limit(rate_lower_value, false).violations(), 0);
  EXPECT_NEAR(rate_upper({0, 1000}, 0.95).value(), 0.00299, 1e-5);
  EXPECT_NEAR(rate_upper({20, 1000}, 0.95).value(), 0.02893, 1e-5);
  EXPECT_EQ(rate_upper({5, 5}, 0.95).value(), 1);
  EXPECT_EQ(rate_lower({0, 5}, 0.95).value(), 0);
}
TEST(Statistics, DegradationIsPaired) {
  EXPECT_EQ(check_degradation(degradation_value, 2000, 3).violations(), 0);
}
TEST(Statistics, StatementsTogetherShareTheError) {
  EXPECT_NEAR(simultaneous_confidence(0.95, 20), 0.9975, 1e-15);
  EXPECT_EQ(simultaneous_confidence(0.95, 1), 0.95);
}

}  // namespace
}  // namespace kvalign
