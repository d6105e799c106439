// The list of the worst tokens, with planted errors.
#include "kvalign/evaluate/worst_tokens.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/support/throws.h"

namespace kvalign {
namespace {

// 2 streams, sequences 8 (3 tokens) and 5 (2 tokens), all of norm 2 and error 0.
TokenErrors no_errors() {
  return {.squared_error_RT = at::zeros({2, 5}, at::kDouble),
          .squared_norm_RT = at::full({2, 5}, 4.0, at::kDouble)};
}

const std::vector<int64_t> kSequences{8, 5};

at::Tensor offsets() {
  return at::tensor({0, 3, 5}, at::kLong);
}

TEST(WorstTokens, FindsPlantedErrorsInOrder) {
  TokenErrors errors = no_errors();
  errors.squared_error_RT[1][3] = 36.0;
  errors.squared_error_RT[0][2] = 1.0;
  WorstTokens worst(2);
  worst.add(errors, offsets(), kSequences, /*first_token=*/4);
  ASSERT_EQ(worst.tokens().size(), 2);
  EXPECT_EQ(worst.tokens()[0].sequence, 5);
  EXPECT_EQ(worst.tokens()[0].token, 4);  // its first token that is not a sink
  EXPECT_EQ(worst.tokens()[0].stream, 1);
  EXPECT_DOUBLE_EQ(worst.tokens()[0].error, 6);
  EXPECT_DOUBLE_EQ(worst.tokens()[0].relative_error, 3);
  EXPECT_EQ(worst.tokens()[1].sequence, 8);
  EXPECT_EQ(worst.tokens()[1].token, 6);
  EXPECT_DOUBLE_EQ(worst.tokens()[1].relative_error, 0.5);
}

TEST(WorstTokens, KeepsTheWorstOverBatches) {
  WorstTokens worst(3);
  for (const double error : {1.0, 9.0, 4.0}) {
    TokenErrors errors = no_errors();
    errors.squared_error_RT[0][0] = 4 * error;
    worst.add(errors, offsets(), {static_cast<int64_t>(error), 100}, 0);
  }
  ASSERT_EQ(worst.tokens().size(), 3);
  EXPECT_EQ(worst.tokens()[0].sequence, 9);
  EXPECT_EQ(worst.tokens()[1].sequence, 4);
  EXPECT_EQ(worst.tokens()[2].sequence, 1);
}

TEST(WorstTokens, LeavesOutTrueVectorsOfNormZero) {
  TokenErrors errors = no_errors();
  errors.squared_norm_RT.fill_(0);
  errors.squared_norm_RT[0][1] = 4.0;
  errors.squared_error_RT.fill_(1);
  WorstTokens worst(10);
  worst.add(errors, offsets(), kSequences, 0);
  ASSERT_EQ(worst.tokens().size(), 1);
  EXPECT_EQ(worst.tokens()[0].token, 1);
}

TEST(WorstTokens, NoneAndFewerThanNone) {
  WorstTokens none(0);
  none.add(no_errors(), offsets(), kSequences, 0);
  EXPECT_TRUE(none.tokens().empty());
  EXPECT_THROWS_WITH(WorstTokens(-1), "expected a count that is not negative, got -1");
}

}  // namespace
}  // namespace kvalign
