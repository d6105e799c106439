// Learning rates against values worked out by hand.
#include "kvalign/train/schedule.h"

#include <gtest/gtest.h>

#include "tests/support/throws.h"

namespace kvalign {
namespace {

TEST(Schedule, ConstantRisesThenStays) {
  const Schedule schedule{.learning_rate = 0.8, .warmup_steps = 4, .total_steps = 10};
  EXPECT_DOUBLE_EQ(learning_rate_at(schedule, 0), 0.2);
  EXPECT_DOUBLE_EQ(learning_rate_at(schedule, 3), 0.8);
  EXPECT_DOUBLE_EQ(learning_rate_at(schedule, 4), 0.8);
  EXPECT_DOUBLE_EQ(learning_rate_at(schedule, 1000), 0.8);
}

TEST(Schedule, CosineStartsHighAndEndsAtZero) {
  const Schedule schedule{
      .kind = "cosine", .learning_rate = 2.0, .warmup_steps = 10, .total_steps = 30};
  EXPECT_DOUBLE_EQ(learning_rate_at(schedule, 10), 2.0);
  EXPECT_NEAR(learning_rate_at(schedule, 20), 1.0, 1e-15);
  EXPECT_NEAR(learning_rate_at(schedule, 25), 0.2928932188134524, 1e-15);  // 1 + cos(3 pi / 4)
  EXPECT_NEAR(learning_rate_at(schedule, 30), 0.0, 1e-15);
  EXPECT_NEAR(learning_rate_at(schedule, 31), 0.0, 1e-15);
}

TEST(Schedule, SurvivesAWarmUpThatIsLongerThanTheRun) {
  const Schedule schedule{
      .kind = "cosine", .learning_rate = 1.0, .warmup_steps = 50, .total_steps = 20};
  EXPECT_DOUBLE_EQ(learning_rate_at(schedule, 19), 0.4);
}

TEST(Schedule, NamesUnknownKinds) {
  EXPECT_THROWS_WITH(learning_rate_at({.kind = "linear"}, 0),
                     "unknown schedule \"linear\"; known: constant, cosine");
}

}  // namespace
}  // namespace kvalign
