// The weighted sum: weights, names, which terms exist, and its errors.
#include "kvalign/loss/multi_task_loss.h"

#include <ATen/ATen.h>

#include "kvalign/core/options.h"
#include "tests/support/golden_fill.h"
#include "tests/support/gradient_check.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using ::testing::ElementsAre;
using testing::golden_double;
using testing::golden_fill;

LossInput three_sequences() {
  return {.predicted_RTD = golden_double({2, 6, 4}, 1).requires_grad_(),
          .target_RTD = golden_double({2, 6, 4}, 2),
          .sequence_offsets = at::tensor({0, 1, 4, 6}, at::kLong)};
}

TaskHead small_head() {
  return {golden_double({3, 8}, 3), golden_double({3}, 4)};
}

TEST(MultiTaskLoss, DefaultsAreOneHalfOne) {
  const MultiTaskLoss loss({}, small_head());
  EXPECT_THAT(loss.term_names(), ElementsAre("mse", "cosine", "task"));
  const LossValue value = loss.compute(three_sequences());
  ASSERT_EQ(value.terms.size(), 3u);
  EXPECT_EQ(value.terms[1].first, "cosine");
  EXPECT_FALSE(value.terms[0].second.requires_grad());
  EXPECT_NEAR(value.total.item<double>(),
              value.terms[0].second.item<double>() + 0.5 * value.terms[1].second.item<double>() +
                  value.terms[2].second.item<double>(),
              1e-15);
}

TEST(MultiTaskLoss, GradientMatchesFiniteDifferences) {
  const MultiTaskLoss loss({.mse = 0.3, .cosine = 2.0, .task = 0.7}, small_head());
  const LossInput input = three_sequences();
  testing::expect_gradient_matches([&] { return loss.compute(input).total; }, input.predicted_RTD);
}

TEST(MultiTaskLoss, WeightZeroLeavesATermOut) {
  const MultiTaskLoss loss({.mse = 0.0, .cosine = 2.0, .task = 0.0}, std::nullopt);
  EXPECT_THAT(loss.term_names(), ElementsAre("cosine"));
  const LossValue value = loss.compute(three_sequences());
  EXPECT_NEAR(value.total.item<double>(), 2 * value.terms[0].second.item<double>(), 1e-15);
}

TEST(MultiTaskLoss, LowPrecisionPredictionsAreComparedInTheTargetsType) {
  const MultiTaskLoss loss({.task = 0.0}, std::nullopt);
  LossInput input{.predicted_RTD = golden_fill({2, 6, 4}, 1, 1.0).to(at::kBFloat16),
                  .target_RTD = golden_fill({2, 6, 4}, 2, 1.0),
                  .sequence_offsets = at::tensor({0, 6}, at::kLong)};
  EXPECT_EQ(loss.compute(input).total.scalar_type(), at::kFloat);
}

TEST(MultiTaskLoss, ErrorsSayWhatToDo) {
  EXPECT_THROWS_WITH(MultiTaskLoss({}, std::nullopt), "set loss.task: 0");
  EXPECT_THROWS_WITH(MultiTaskLoss({.mse = -1}, small_head()),
                     "expected weights of at least 0, got mse -1");
  EXPECT_THROWS_WITH(MultiTaskLoss({.mse = 0, .cosine = 0, .task = 0}, std::nullopt),
                     "expected a weight above 0, got none");
  EXPECT_THROWS_WITH(MultiTaskLoss({.task_target = "firm"}, small_head()),
                     "expected task_target hard or soft, got 'firm'");
  LossInput input = three_sequences();
  input.target_RTD = input.target_RTD.narrow(1, 0, 5);
  EXPECT_THROWS_WITH(MultiTaskLoss({}, small_head()).compute(input),
                     "of one shape, got [2, 6, 4] and [2, 5, 4]");
}

TEST(MultiTaskLoss, OptionsAreDescribed) {
  LossOptions options;
  read_options(options, "", {"cosine=0.25", "task_target=soft", "task_head.max_iterations=3"});
  EXPECT_EQ(options.cosine, 0.25);
  EXPECT_EQ(options.task_head.max_iterations, 3);
  EXPECT_THROWS_WITH(read_options(options, "", {"mse=-1"}), "mse");
}

}  // namespace
}  // namespace kvalign
