// residual_mlp: what it is at the start, what training moves, and folding.
#include <ATen/ATen.h>

#include "kvalign/projector/kv_projector.h"
#include "tests/support/golden_fill.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using testing::golden_fill;

constexpr ProjectorShape kShape{.num_groups = 2, .num_features = 5, .num_streams = 4, .width = 3};

std::shared_ptr<Projector> residual_mlp() {
  return make_projector({.kind = "residual_mlp", .norm = "none", .hidden_size = 7}, kShape);
}

// Weights that are not those of the start.
void fill(Projector& projector) {
  const at::NoGradGuard no_gradients;
  uint64_t seed = 10;
  for (auto& item : projector.named_parameters()) {
    item.value().copy_(golden_fill(item.value().sizes().vec(), seed++, 0.5));
  }
}

TEST(ResidualMlp, StartsAsItsLinearMap) {
  const auto projector = residual_mlp();
  const at::Tensor features = golden_fill({2, 6, 5}, 1, 1.0);
  const at::Tensor weight = projector->named_parameters()["linear.weight"];
  const at::Tensor output = projector->forward(features);
  for (int64_t stream = 0; stream < 4; ++stream) {
    EXPECT_TRUE(
        at::allclose(output[stream], features[stream / 2].mm(weight[stream].t()), 1e-5, 1e-6));
  }
}

TEST(ResidualMlp, AddsAnMlpWhoseHiddenUnitsAGroupShares) {
  const auto projector = residual_mlp();
  fill(*projector);
  const at::Tensor features = golden_fill({2, 6, 5}, 1, 1.0);
  const auto parameters = projector->named_parameters();
  const at::Tensor output = projector->forward(features);
  for (int64_t stream = 0; stream < 4; ++stream) {
    const int64_t group = stream / 2;
    const at::Tensor hidden = at::gelu(at::linear(
        features[group], parameters["hidden.weight"][group], parameters["hidden.bias"][group]));
    const at::Tensor expected =
        at::linear(features[group], parameters["linear.weight"][stream],
                   parameters["linear.bias"][stream]) +
        at::linear(hidden, parameters["output.weight"][stream], parameters["output.bias"][stream]);
    EXPECT_TRUE(at::allclose(output[stream], expected, 1e-5, 1e-5));
  }
}

TEST(ResidualMlp, OnlyTheMlpLearns) {
  const auto projector = residual_mlp();
  fill(*projector);
  projector->forward(golden_fill({2, 6, 5}, 1, 1.0)).square().sum().backward();
  for (const auto& item : projector->named_parameters()) {
    const bool is_linear = item.key().rfind("linear.", 0) == 0;
    EXPECT_EQ(item.value().requires_grad(), !is_linear) << item.key();
    EXPECT_EQ(item.value().grad().defined(), !is_linear) << item.key();
  }
  EXPECT_EQ(projector->num_parameters(), 4 * 3 * 6 + 2 * 7 * 6 + 4 * 3 * 8);
}

TEST(ResidualMlp, FoldingKeepsTheFunction) {
  const auto projector = residual_mlp();
  fill(*projector);
  projector->set_standardisation({.feature_mean_GF = golden_fill({2, 5}, 2, 1.0),
                                  .feature_scale_GF = golden_fill({2, 5}, 3, 1.0).abs() + 0.5,
                                  .output_mean_RD = golden_fill({4, 3}, 4, 1.0),
                                  .output_scale_RD = golden_fill({4, 3}, 5, 1.0).abs() + 0.5});
  const at::Tensor features = golden_fill({2, 6, 5}, 1, 1.0);
  const at::Tensor before = projector->forward(features);
  projector->fold_standardisation();
  EXPECT_TRUE(at::allclose(projector->forward(features), before, 1e-4, 1e-5));
}

TEST(ResidualMlp, HasNoNorm) {
  EXPECT_THROWS_WITH(make_projector({.kind = "residual_mlp", .norm = "layer"}, kShape),
                     "residual_mlp: expected norm none");
}

}  // namespace
}  // namespace kvalign
