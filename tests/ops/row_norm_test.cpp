// Rows against their norm in float64, in every instruction set of the machine.
#include "kvalign/ops/row_norm.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "kvalign/core/random.h"
#include "tests/support/instruction_sets.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

at::Tensor normalised_in_float64(const at::Tensor& rows_RTD, const at::Tensor& gamma_RD,
                                 const at::Tensor& beta_RD, double epsilon) {
  const at::Tensor rows = rows_RTD.to(at::kDouble);
  const at::Tensor scale = (rows.square().mean(2, true) + epsilon).sqrt();
  const at::Tensor result = rows / scale * gamma_RD.to(at::kDouble).unsqueeze(1);
  return beta_RD.defined() ? result + beta_RD.to(at::kDouble).unsqueeze(1) : result;
}

TEST(RowNorm, IsTheNormOfEveryRow) {
  constexpr double kEpsilon = 1e-5;
  for (const int64_t set : testing::instruction_sets()) {
    const testing::ForcedInstructionSet forced(set);
    for (const int64_t width : {1, 3, 8, 31, 32, 33, 100, 4097}) {
      for (const bool token_by_token : {false, true}) {
        const at::Tensor gamma_RD = at::randn({3, width}, make_generator(1));
        const at::Tensor beta_RD = at::randn({3, width}, make_generator(2));
        for (const at::Tensor& beta : {beta_RD, at::Tensor()}) {
          at::Tensor rows_RTD = token_by_token
                                    ? at::randn({5, 3, width}, make_generator(3)).transpose(0, 1)
                                    : at::randn({3, 5, width}, make_generator(3));
          rows_RTD.select(1, 4).zero_();
          const at::Tensor expected_RTD = normalised_in_float64(rows_RTD, gamma_RD, beta, kEpsilon);
          normalise_rows_(rows_RTD, gamma_RD, beta, kEpsilon);
          // Sums of up to 4,097 squares in at least four parts, then three roundings.
          const double error = (rows_RTD.to(at::kDouble) - expected_RTD).norm().item<double>();
          EXPECT_LE(error, 16 * 0x1p-24 * expected_RTD.norm().item<double>() + 1e-12)
              << "width " << width << ", instruction set " << set;
        }
      }
    }
  }
}

TEST(RowNorm, TouchesNothingBetweenRows) {
  at::Tensor all = at::ones({2, 4, 10});
  at::Tensor rows_RTD = all.narrow(1, 1, 2).narrow(2, 3, 5);
  normalise_rows_(rows_RTD, at::full({2, 5}, 3.0), {}, 0.0);
  EXPECT_TRUE(rows_RTD.eq(3.0).all().item<bool>());
  EXPECT_EQ(all.sum().item<float>(), 80.0f + 2.0f * 2 * 2 * 5);
}

TEST(RowNorm, ScaledFeaturesMakeNormalisedOutputs) {
  for (const int64_t set : testing::instruction_sets()) {
    const testing::ForcedInstructionSet forced(set);
    for (const int64_t features : {1, 8, 33}) {
      const at::Tensor features_GTF = at::randn({2, 5, features}, make_generator(1));
      const at::Tensor roots_GTK = at::randn({2, 5, 37}, make_generator(2));
      const at::Tensor scale_GT1 =
          (roots_GTK.to(at::kDouble).square().sum(2, true) / 19 + 1e-5).rsqrt();
      const at::Tensor expected_GTA =
          at::cat({features_GTF * scale_GT1, scale_GT1, at::ones_like(scale_GT1)}, 2);
      const at::Tensor scaled_GTA = scale_features(features_GTF, roots_GTK, 19, 1e-5);
      EXPECT_TRUE(at::allclose(scaled_GTA.to(at::kDouble), expected_GTA, 1e-6, 0)) << set;
    }
  }
}

TEST(RowNorm, NoRowIsFine) {
  at::Tensor rows_RTD = at::empty({2, 0, 5});
  normalise_rows_(rows_RTD, at::ones({2, 5}), {}, 1e-5);
}

TEST(RowNorm, RefusesWhatDoesNotFit) {
  at::Tensor rows = at::ones({2, 3, 5});
  const at::Tensor factors = at::ones({2, 5});
  at::Tensor flat = at::ones({3, 5}), halves = rows.to(at::kHalf),
             strided = at::ones({2, 5, 3}).transpose(1, 2), elsewhere = rows.to(at::kMeta);
  EXPECT_THROWS_WITH(normalise_rows_(flat, factors, {}, 0), "[streams, tokens, width]");
  EXPECT_THROWS_WITH(normalise_rows_(halves, factors, {}, 0), "got Half");
  EXPECT_THROWS_WITH(normalise_rows_(strided, factors, {}, 0), "strides [15, 1, 3]");
  EXPECT_THROWS_WITH(normalise_rows_(elsewhere, factors, {}, 0), "on meta");
  EXPECT_THROWS_WITH(normalise_rows_(rows, at::ones({1, 5}), {}, 0), "got Float [1, 5]");
  EXPECT_THROWS_WITH(normalise_rows_(rows, {}, {}, 0), "got none and none");
  EXPECT_THROWS_WITH(normalise_rows_(rows, factors, at::ones({2, 5}, at::kHalf), 0),
                     "and Half [2, 5]");
  EXPECT_THROWS_WITH(scale_features(rows, at::ones({2, 4, 5}), 9, 0), "Float [2, 4, 5]");
  EXPECT_THROWS_WITH(scale_features(rows, halves, 9, 0), "and Half [2, 3, 5]");
  EXPECT_THROWS_WITH(normalise_rows_(rows, at::ones({5, 2}).t(), {}, 0),
                     "contiguous float32 [2, 5]");
}

}  // namespace
}  // namespace kvalign
