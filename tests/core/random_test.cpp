// SplitMix64 against the published reference, and the distributions against their definitions.
#include "kvalign/core/random.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/support/throws.h"

namespace kvalign {
namespace {

TEST(Random, MatchesTheReferenceOfSplitMix64) {
  // First outputs of https://prng.di.unimi.it/splitmix64.c with x = 1234567; an independent
  // implementation in Python integers gives the same.
  Random random(1234567);
  for (const uint64_t expected : {6457827717110365317u, 3203168211198807973u, 9817491932198370423u,
                                  4593380528125082431u, 16408922859458223821u}) {
    EXPECT_EQ(random.bits(), expected);
  }
  EXPECT_EQ(Random(0).bits(), 0xe220a8397b1dcdafu);
}

TEST(Random, AnyPositionCanBeEntered) {
  Random random(7);
  random.normal();
  random.uniform();
  EXPECT_EQ(random.position(), 3u);
  EXPECT_EQ(Random(7, 3).bits(), random.bits());
}

TEST(Random, UniformIsTheTop53Bits) {
  EXPECT_EQ(Random(1234567).uniform(), std::ldexp(6457827717110365317u >> 11, -53));
  Random random(5);
  double sum = 0;
  for (int i = 0; i < 100'000; ++i) {
    const double value = random.uniform();
    ASSERT_GE(value, 0.0);
    ASSERT_LT(value, 1.0);
    sum += value;
  }
  // Five standard errors of the mean of 100,000 uniform numbers: 5 * sqrt(1 / 12 / 100,000).
  EXPECT_NEAR(sum / 100'000, 0.5, 0.0046);
}

TEST(Random, NormalHasTheMomentsOfANormal) {
  Random random(11);
  constexpr int kCount = 200'000;
  double sum = 0, squares = 0, fourths = 0;
  for (int i = 0; i < kCount; ++i) {
    const double value = random.normal();
    sum += value;
    squares += value * value;
    fourths += std::pow(value, 4);
  }
  // Five standard errors each; the variances of x, x^2, x^4 are 1, 2 and 96.
  const double error = 5 / std::sqrt(kCount);
  EXPECT_NEAR(sum / kCount, 0, error);
  EXPECT_NEAR(squares / kCount, 1, error * std::sqrt(2));
  EXPECT_NEAR(fourths / kCount, 3, error * std::sqrt(96));
}

TEST(Random, BelowIsUniformAndInRange) {
  Random random(3);
  std::vector<int> counts(7);
  for (int i = 0; i < 70'000; ++i) ++counts[static_cast<size_t>(random.below(7))];
  // Five standard deviations of a binomial count: 5 * sqrt(70,000 * 1/7 * 6/7).
  for (const int count : counts) EXPECT_NEAR(count, 10'000, 463);
  EXPECT_EQ(random.below(1), 0);
  EXPECT_THROWS_WITH(random.below(0), "expected a positive bound, got 0");
  EXPECT_THROWS_WITH(random.below(-3), "expected a positive bound, got -3");
}

TEST(Random, BelowDrawsAgainWhereModuloWouldBeUnfair) {
  // For a bound of 2^62 + 1, about a quarter of all numbers would favour small remainders.
  const int64_t bound = (int64_t{1} << 62) + 1;
  Random random(9);
  for (int i = 0; i < 1000; ++i) EXPECT_LT(random.below(bound), bound);
  EXPECT_GT(random.position(), 1100u);
}

TEST(ShuffledIndices, IsThePermutationOfRecord) {
  // From an independent implementation in Python.
  EXPECT_EQ(shuffled_indices(8, 1), (std::vector<int64_t>{4, 3, 2, 7, 5, 6, 0, 1}));
  EXPECT_EQ(shuffled_indices(0, 1), std::vector<int64_t>{});
  EXPECT_EQ(shuffled_indices(1, 1), std::vector<int64_t>{0});
  EXPECT_THROWS_WITH(shuffled_indices(-1, 1), "expected a count of at least 0, got -1");
}

TEST(ShuffledIndices, HoldsEveryIndexOnceAndDependsOnTheSeed) {
  std::vector<int64_t> indices = shuffled_indices(1000, 42);
  EXPECT_NE(indices, shuffled_indices(1000, 43));
  std::sort(indices.begin(), indices.end());
  std::vector<int64_t> expected(1000);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(indices, expected);
}

TEST(DeriveSeed, GivesEachStreamItsOwn) {
  EXPECT_EQ(derive_seed(1234567, 1), 3203168211198807973u);
  EXPECT_NE(derive_seed(1, 0), derive_seed(0, 1));
}

TEST(MakeGenerator, RepeatsItself) {
  const auto draw = [](uint64_t seed) {
    return at::rand({5}, make_generator(seed), at::TensorOptions(at::kFloat));
  };
  EXPECT_TRUE(at::equal(draw(3), draw(3)));
  EXPECT_FALSE(at::equal(draw(3), draw(4)));
}

}  // namespace
}  // namespace kvalign
