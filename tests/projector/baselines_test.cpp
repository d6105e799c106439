// Kinds without parameters, by hand.
#include <ATen/ATen.h>

#include "kvalign/projector/projector.h"
#include "tests/support/golden_fill.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using testing::golden_fill;

ProjectorShape shape_of(int64_t num_streams, int64_t num_features, int64_t width) {
  return {.num_groups = num_streams,
          .num_features = num_features,
          .num_streams = num_streams,
          .width = width};
}

at::Tensor run(const std::string& kind, const ProjectorShape& shape, const at::Tensor& features) {
  const auto projector = make_projector(baseline_options(kind, 1), shape);
  EXPECT_EQ(projector->num_parameters(), 0);
  return projector->forward(features);
}

TEST(Baselines, TruncateCutsAndPadFillsWithZeros) {
  const at::Tensor features = golden_fill({2, 3, 5}, 1, 1.0);
  EXPECT_TRUE(run("truncate", shape_of(2, 5, 4), features).equal(features.narrow(2, 0, 4)));
  EXPECT_TRUE(run("truncate", shape_of(2, 5, 5), features).equal(features));
  const at::Tensor padded = run("pad", shape_of(2, 5, 8), features);
  EXPECT_TRUE(padded.narrow(2, 0, 5).equal(features));
  EXPECT_TRUE(padded.narrow(2, 5, 3).eq(0).all().item<bool>());
}

TEST(Baselines, InterpolateResamplesLinearly) {
  // Width 2 -> 4: sample i sits at (i + 0.5) / 2 - 0.5 = -0.25, 0.25, 0.75, 1.25, ends held.
  const at::Tensor features = at::tensor({1.0f, 3.0f}).view({1, 1, 2});
  const at::Tensor expected = at::tensor({1.0f, 1.5f, 2.5f, 3.0f}).view({1, 1, 4});
  EXPECT_TRUE(run("interpolate", shape_of(1, 2, 4), features).equal(expected));
}

TEST(Baselines, RandomKeepsTheMeanSquareAndFollowsTheSeed) {
  const ProjectorShape shape = shape_of(2, 256, 300);
  const at::Tensor features = golden_fill({2, 50, 256}, 1, 1.0);
  const at::Tensor output = run("random", shape, features);
  EXPECT_TRUE(output.equal(run("random", shape, features)));
  EXPECT_FALSE(
      output.equal(make_projector(baseline_options("random", 2), shape)->forward(features)));
  // 600 random rows a token: the ratio is 1 within a few times sqrt(2 / 600).
  EXPECT_NEAR(output.square().mean().item<double>() / features.square().mean().item<double>(), 1.0,
              0.1);
}

TEST(Baselines, ListDependsOnTheShape) {
  using ::testing::ElementsAre;
  EXPECT_THAT(baseline_kinds(shape_of(1, 5, 8)), ElementsAre("pad", "interpolate", "random"));
  EXPECT_THAT(baseline_kinds(shape_of(1, 8, 5)), ElementsAre("truncate", "interpolate", "random"));
}

TEST(Baselines, TheWrongDirectionIsRefused) {
  EXPECT_THROWS_WITH(make_projector(baseline_options("truncate", 1), shape_of(1, 5, 8)),
                     "expected at least 8 features for a width of 8, got 5. Use kind pad.");
  EXPECT_THROWS_WITH(make_projector(baseline_options("pad", 1), shape_of(1, 8, 8)),
                     "expected fewer than 8 features for a width of 8, got 8. Use kind truncate.");
}

}  // namespace
}  // namespace kvalign
