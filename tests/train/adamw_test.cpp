// Our AdamW against torch's, its clipping and skipping, and its state.
#include "kvalign/train/adamw.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/optim/adamw.h>

#include <cmath>
#include <limits>

#include "tests/support/golden_fill.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using testing::golden_fill;

constexpr int kSteps = 30;

NamedParameters make_parameters() {
  return {{"weight", golden_fill({13, 7}, 1, 1.0).requires_grad_()},
          {"bias", golden_fill({7}, 2, 1.0).requires_grad_()}};
}

void set_gradients(const NamedParameters& parameters, int step) {
  uint64_t seed = 100 + 10 * step;
  for (const auto& [name, parameter] : parameters) {
    parameter.mutable_grad() = golden_fill(parameter.sizes(), seed++, 2.0);
  }
}

double largest_difference(const at::Tensor& one, const at::Tensor& other) {
  return (one.detach() - other.detach()).abs().max().item<double>();
}

TEST(AdamW, EqualsTorch) {
  NamedParameters ours = make_parameters(), theirs = make_parameters();
  AdamW optimiser(ours, {});
  torch::optim::AdamW oracle({theirs[0].second, theirs[1].second},
                             torch::optim::AdamWOptions(1e-2).weight_decay(0.01));
  for (int step = 0; step < kSteps; ++step) {
    set_gradients(ours, step);
    set_gradients(theirs, step);
    optimiser.step(1e-2, optimiser.measure_gradients(/*gradient_clip=*/0));
    oracle.step();
  }
  for (size_t i = 0; i < ours.size(); ++i) {
    // Values are near 1 and move by up to 0.01 a step.
    EXPECT_LE(largest_difference(ours[i].second, theirs[i].second), 1e-6) << ours[i].first;
  }
}

TEST(AdamW, ClipsTheNormOfAllGradientsTogether) {
  NamedParameters ours = make_parameters(), theirs = make_parameters();
  AdamW optimiser(ours, {}), reference(theirs, {});
  for (int step = 0; step < kSteps; ++step) {
    set_gradients(ours, step);
    set_gradients(theirs, step);
    double sum = 0;
    for (const auto& item : theirs) sum += item.second.grad().square().sum().item<double>();
    for (const auto& item : theirs) item.second.mutable_grad().mul_(0.5 / std::sqrt(sum));
    const StepControl control = optimiser.measure_gradients(/*gradient_clip=*/0.5);
    EXPECT_NEAR(control.grad_norm.item<double>(), std::sqrt(sum), 1e-6 * std::sqrt(sum));
    optimiser.step(1e-2, control);
    reference.step(1e-2, reference.measure_gradients(0));
  }
  EXPECT_LE(largest_difference(ours[0].second, theirs[0].second), 1e-6);
}

TEST(AdamW, LeavesSmallGradientsUnclipped) {
  NamedParameters parameters = make_parameters();
  AdamW optimiser(parameters, {});
  set_gradients(parameters, 0);
  EXPECT_EQ(optimiser.measure_gradients(/*gradient_clip=*/1e6).grad_scale.item<float>(), 1.0f);
}

TEST(AdamW, SkipsAStepThatIsNotFinite) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    NamedParameters parameters = make_parameters(), untouched = make_parameters();
    AdamW optimiser(parameters, {});
    set_gradients(parameters, 0);
    parameters[0].second.mutable_grad()[3][2].fill_(bad);
    const StepControl control = optimiser.measure_gradients(/*gradient_clip=*/1.0);
    EXPECT_EQ(control.found_inf.item<float>(), 1.0f);
    optimiser.step(1e-2, control);
    EXPECT_TRUE(at::equal(parameters[0].second, untouched[0].second));
    EXPECT_TRUE(at::equal(parameters[1].second, untouched[1].second));
    for (const NamedTensor& tensor : optimiser.state()) {
      EXPECT_EQ(tensor.tensor.abs().max().item<float>(), 0.0f) << tensor.name;
    }
  }
}

TEST(AdamW, NamesItsStateAndCountsSteps) {
  NamedParameters parameters = make_parameters();
  AdamW optimiser(parameters, {});
  set_gradients(parameters, 0);
  optimiser.step(1e-2, optimiser.measure_gradients(0));
  const std::vector<NamedTensor> state = optimiser.state();
  ASSERT_EQ(state.size(), 6u);
  EXPECT_EQ(state[0].name, "exp_avg.weight");
  EXPECT_EQ(state[1].name, "exp_avg_sq.weight");
  EXPECT_EQ(state[2].name, "step.weight");
  EXPECT_EQ(state[2].tensor.item<float>(), 1.0f);
}

TEST(AdamW, NamesTheParameterWithoutGradient) {
  NamedParameters parameters = make_parameters();
  AdamW optimiser(parameters, {});
  set_gradients(parameters, 0);
  parameters[1].second.mutable_grad() = at::Tensor();
  EXPECT_THROWS_WITH(optimiser.measure_gradients(0), "parameter bias has no gradient");
}

}  // namespace
}  // namespace kvalign
