// Percentiles beside numpy's, and verdicts on ratios that were written down by hand.
#include "kvalign/benchmark/spread.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "tests/support/throws.h"

namespace kvalign::benchmark {
namespace {

// numpy.percentile(values, [50, 10, 90])
TEST(BenchmarkSpread, PercentilesAreNumpys) {
  const Spread odd = spread_of({5, 1, 4, 2, 30});
  EXPECT_DOUBLE_EQ(odd.median, 4);
  EXPECT_DOUBLE_EQ(odd.p10, 1.4);
  EXPECT_DOUBLE_EQ(odd.p90, 20);
  const Spread even = spread_of({1, 2, 3, 4, 5, 6});
  EXPECT_DOUBLE_EQ(even.median, 3.5);
  EXPECT_DOUBLE_EQ(even.p10, 1.5);
  EXPECT_DOUBLE_EQ(even.p90, 5.5);
  const Spread one = spread_of({7});
  EXPECT_EQ(one.median, 7);
  EXPECT_EQ(one.p10, 7);
  EXPECT_EQ(one.p90, 7);
}

TEST(BenchmarkSpread, RefusesWhatHasNoPercentiles) {
  EXPECT_THROWS_WITH(spread_of({}), "expected numbers, got none");
  EXPECT_THROWS_WITH(spread_of({1, std::nan("")}), "expected numbers, got NaN");
  EXPECT_THROWS_WITH(ratio_of({1, 2}, {1}), "as many rounds of both, got 2 and 1");
}

// The third round was slow for both: their ratio does not show it.
TEST(BenchmarkSpread, RatiosAreOfOneRound) {
  const Spread ratio = ratio_of({1, 2, 50}, {2, 4, 100});
  EXPECT_DOUBLE_EQ(ratio.median, 0.5);
  EXPECT_DOUBLE_EQ(ratio.p10, 0.5);
  EXPECT_DOUBLE_EQ(ratio.p90, 0.5);
}

TEST(BenchmarkSpread, NoiseIsTheLargerSide) {
  EXPECT_DOUBLE_EQ(noise_factor({.median = 1, .p10 = 0.8, .p90 = 1.1}), 1.25);
  EXPECT_DOUBLE_EQ(noise_factor({.median = 1, .p10 = 0.95, .p90 = 1.3}), 1.3);
  EXPECT_DOUBLE_EQ(noise_factor({.median = 0.9, .p10 = 1.0, .p90 = 0.9}), 1.0);
}

TEST(BenchmarkSpread, ADifferenceBelowTheNoiseIsEqual) {
  const auto verdict = [](double median, double noise) {
    return std::string(verdict_name(judge({.median = median, .p10 = 0, .p90 = 0}, noise)));
  };
  EXPECT_EQ(verdict(0.92, 1.10), "equal");
  EXPECT_EQ(verdict(1.09, 1.10), "equal");
  EXPECT_EQ(verdict(0.90, 1.10), "faster");  // 1 / 0.90 > 1.10
  EXPECT_EQ(verdict(1.11, 1.10), "slower");
  EXPECT_EQ(verdict(1.0, 1.0), "equal");
}

}  // namespace
}  // namespace kvalign::benchmark
