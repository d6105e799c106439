// Arrivals of a load: a Poisson process, and the same one for the same seed.
#include "src/serve/load_schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace kvalign {
namespace {

TEST(LoadSchedule, GapsAreExponential) {
  constexpr int64_t kCount = 20000;
  constexpr double kRate = 250;
  const std::vector<double> arrivals = poisson_arrivals(kCount, kRate, /*seed=*/7);
  ASSERT_EQ(arrivals.size(), static_cast<size_t>(kCount));
  EXPECT_TRUE(std::is_sorted(arrivals.begin(), arrivals.end()));
  std::vector<double> gaps = {arrivals[0]};
  for (size_t i = 1; i < arrivals.size(); ++i) gaps.push_back(arrivals[i] - arrivals[i - 1]);
  std::sort(gaps.begin(), gaps.end());
  double distance = 0;  // Kolmogorov's, to 1 - exp(-rate gap)
  for (size_t i = 0; i < gaps.size(); ++i) {
    const double expected = 1 - std::exp(-kRate * gaps[i]);
    distance = std::max({distance, expected - static_cast<double>(i) / kCount,
                         static_cast<double>(i + 1) / kCount - expected});
  }
  // 1.95 / sqrt(n) is exceeded once in a thousand samples of that distribution.
  EXPECT_LT(distance, 1.95 / std::sqrt(static_cast<double>(kCount)));
}

TEST(LoadSchedule, IsTheSeedsAndScalesWithTheRate) {
  const auto arrivals = poisson_arrivals(100, 10, 1);
  EXPECT_EQ(arrivals, poisson_arrivals(100, 10, 1));
  EXPECT_NE(arrivals, poisson_arrivals(100, 10, 2));
  const auto twice_as_fast = poisson_arrivals(100, 20, 1);
  for (size_t i = 0; i < arrivals.size(); ++i) {
    EXPECT_NEAR(twice_as_fast[i], arrivals[i] / 2, 1e-12);
  }
}

}  // namespace
}  // namespace kvalign
