// Streamed statistics against those of all tokens at once, in float64.
#include "kvalign/projector/standardisation.h"

#include <ATen/ATen.h>

#include "tests/support/golden_fill.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using testing::golden_fill;

// Largest |got - expected| / max(1, |expected|).
double largest_error(const at::Tensor& got, const at::Tensor& expected) {
  return ((got.to(at::kDouble) - expected).abs() / expected.abs().clamp_min(1.0))
      .max()
      .item<double>();
}

TEST(Standardisation, BatchesGiveTheStatisticsOfAllTokens) {
  // A mean of 50 deviations, as real keys have: a difference of large sums would lose it.
  const at::Tensor features = golden_fill({2, 97, 5}, 1, 2.0) + 50.0;
  const at::Tensor targets = golden_fill({3, 97, 4}, 2, 0.5) - 3.0;
  StatisticsAccumulator accumulator;
  for (const auto& [begin, count] : {std::pair{0, 1}, {1, 60}, {61, 0}, {61, 36}}) {
    accumulator.add(features.narrow(1, begin, count), targets.narrow(1, begin, count));
  }
  EXPECT_EQ(accumulator.num_tokens(), 97);
  const FeatureStatistics statistics = accumulator.finish();
  // float32 results: half a unit in the last place is 6e-8, and the squares were rounded too.
  const at::Tensor wide_features = features.to(at::kDouble);
  const at::Tensor wide_targets = targets.to(at::kDouble);
  EXPECT_LE(largest_error(statistics.feature_mean_GF, wide_features.mean(1)), 1e-7);
  EXPECT_LE(largest_error(statistics.feature_scale_GF, wide_features.std(1, false)), 3e-7);
  EXPECT_LE(largest_error(statistics.output_mean_RD, wide_targets.mean(1)), 1e-7);
  EXPECT_LE(largest_error(statistics.output_scale_RD, wide_targets.std(1, false)), 3e-7);
}

TEST(Standardisation, ConstantElementsHaveScaleOne) {
  at::Tensor features = golden_fill({1, 10, 3}, 1, 1.0);
  features.select(2, 1).fill_(7.0f);
  features.select(2, 2).fill_(0.0f);
  StatisticsAccumulator accumulator;
  accumulator.add(features, features);
  const FeatureStatistics statistics = accumulator.finish();
  EXPECT_NE(statistics.feature_scale_GF[0][0].item<float>(), 1.0f);
  EXPECT_EQ(statistics.feature_scale_GF[0][1].item<float>(), 1.0f);
  EXPECT_EQ(statistics.feature_scale_GF[0][2].item<float>(), 1.0f);
}

TEST(Standardisation, ErrorsSayWhatToDo) {
  StatisticsAccumulator accumulator;
  EXPECT_THROWS_WITH(accumulator.finish(), "Is the training split empty?");
  EXPECT_THROWS_WITH(accumulator.add(at::zeros({1, 3, 2}), at::zeros({1, 4, 2})),
                     "of the same tokens, got [1, 3, 2] and [1, 4, 2]");
  accumulator.add(at::zeros({1, 3, 2}), at::zeros({1, 3, 2}));
  EXPECT_THROWS_WITH(accumulator.add(at::zeros({1, 3, 5}), at::zeros({1, 3, 2})),
                     "expected batches of one shape");
}

}  // namespace
}  // namespace kvalign
