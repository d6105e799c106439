// A projector with statistics: what it computes, and that folding changes nothing but its weights.
#include <ATen/ATen.h>

#include "kvalign/projector/projector.h"
#include "tests/support/golden_fill.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using testing::golden_fill;

constexpr ProjectorShape kShapes[] = {
    {.num_groups = 1, .num_features = 33, .num_streams = 1, .width = 17},
    {.num_groups = 1, .num_features = 33, .num_streams = 4, .width = 17},
    {.num_groups = 2, .num_features = 33, .num_streams = 4, .width = 17},
    {.num_groups = 4, .num_features = 33, .num_streams = 4, .width = 17}};

FeatureStatistics statistics_of(const ProjectorShape& shape) {
  return {golden_fill({shape.num_groups, shape.num_features}, 1, 4.0),
          golden_fill({shape.num_groups, shape.num_features}, 2, 1.0) + 1.5,
          golden_fill({shape.num_streams, shape.width}, 3, 4.0),
          golden_fill({shape.num_streams, shape.width}, 4, 1.0) + 1.5};
}

at::Tensor features_of(const ProjectorShape& shape) {
  return golden_fill({shape.num_groups, 13, shape.num_features}, 5, 2.0);
}

TEST(ProjectorStandardisation, FoldingKeepsTheFunctionAndTheCount) {
  for (const ProjectorShape& shape : kShapes) {
    for (const char* kind : {"linear_residual", "mlp"}) {
      for (const char* norm : {"layer", "rms", "none"}) {
        const auto projector =
            make_projector({.kind = kind, .norm = norm, .hidden_size = 16}, shape);
        const int64_t count = projector->num_parameters();
        projector->set_standardisation(statistics_of(shape));
        EXPECT_EQ(projector->named_buffers().size(), 4u);
        const at::NoGradGuard no_gradients;
        const at::Tensor before = projector->forward(features_of(shape));
        projector->fold_standardisation();
        const at::Tensor after = projector->forward(features_of(shape));
        // 33 products of float32 numbers around 10, rounded at 6e-8 each.
        EXPECT_LE((after - before).norm().item<double>(), 1e-5 * before.norm().item<double>())
            << kind << " " << norm << " groups " << shape.num_groups;
        EXPECT_EQ(projector->num_parameters(), count);
        EXPECT_TRUE(projector->named_buffers().is_empty());
        projector->fold_standardisation();
        EXPECT_TRUE(projector->forward(features_of(shape)).equal(after));
      }
    }
  }
}

TEST(ProjectorStandardisation, FeaturesAndOutputsAreThoseOfTheStatistics) {
  for (const ProjectorShape& shape : kShapes) {
    const FeatureStatistics statistics = statistics_of(shape);
    ProjectorOptions options{.kind = "mlp", .norm = "none", .hidden_size = 16};
    const auto projector = make_projector(options, shape);
    const at::NoGradGuard no_gradients;
    const at::Tensor inside =
        projector->forward((features_of(shape) - statistics.feature_mean_GF.unsqueeze(1)) /
                           statistics.feature_scale_GF.unsqueeze(1));
    projector->set_standardisation(statistics);
    const at::Tensor expected =
        inside * statistics.output_scale_RD.unsqueeze(1) + statistics.output_mean_RD.unsqueeze(1);
    EXPECT_TRUE(at::allclose(projector->forward(features_of(shape)), expected, 1e-5, 1e-6));
  }
}

TEST(ProjectorStandardisation, RmsTakesTheRootMeanSquareAsScale) {
  const ProjectorShape shape = kShapes[0];
  const FeatureStatistics statistics = statistics_of(shape);
  ProjectorOptions options{.kind = "linear_residual", .norm = "rms"};
  options.standardise_features = false;
  const auto projector = make_projector(options, shape);
  const at::NoGradGuard no_gradients;
  const at::Tensor inside = projector->forward(features_of(shape));
  projector->set_standardisation(statistics);
  const at::Tensor scale =
      (statistics.output_mean_RD.square() + statistics.output_scale_RD.square()).sqrt();
  EXPECT_TRUE(at::allclose(projector->forward(features_of(shape)), inside * scale.unsqueeze(1)));
}

TEST(ProjectorStandardisation, EachSideIsAnOption) {
  const ProjectorShape shape = kShapes[2];
  ProjectorOptions options{.kind = "linear_residual", .norm = "none"};
  options.standardise_targets = false;
  const auto features_only = make_projector(options, shape);
  features_only->set_standardisation(statistics_of(shape));
  EXPECT_TRUE(features_only->named_buffers().contains("feature_statistics.mean"));
  EXPECT_FALSE(features_only->named_buffers().contains("output_statistics.mean"));
  options.standardise_features = false;
  const auto neither = make_projector(options, shape);
  neither->set_standardisation({});
  EXPECT_TRUE(neither->named_buffers().is_empty());
}

TEST(ProjectorStandardisation, TheCallersTensorsAreCopied) {
  const ProjectorShape shape = kShapes[0];
  const FeatureStatistics statistics = statistics_of(shape);
  const auto projector = make_projector({}, shape);
  projector->set_standardisation(statistics);
  statistics.feature_mean_GF.fill_(1e9f);
  EXPECT_LT(projector->named_buffers()["feature_statistics.mean"].max().item<float>(), 5.0f);
}

TEST(ProjectorStandardisation, ErrorsSayWhatToDo) {
  const ProjectorShape shape = kShapes[0];
  EXPECT_THROWS_WITH((make_projector(baseline_options("random", 1), shape)
                          ->set_standardisation(statistics_of(shape)),
                      0),
                     "kind random has no parameters to train");
  const auto projector = make_projector({}, shape);
  EXPECT_THROWS_WITH((projector->set_standardisation({}), 0),
                     "expected feature_mean_GF of shape [1, 33], got none");
  FeatureStatistics other = statistics_of(shape);
  other.output_scale_RD = at::ones({2, 17});
  EXPECT_THROWS_WITH((projector->set_standardisation(other), 0),
                     "expected output_scale_RD of shape [1, 17], got [2, 17]");
  projector->set_standardisation(statistics_of(shape));
  EXPECT_THROWS_WITH((projector->set_standardisation(statistics_of(shape)), 0),
                     "statistics are already set");
}

}  // namespace
}  // namespace kvalign
