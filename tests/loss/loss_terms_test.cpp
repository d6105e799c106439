// Each term against Python torch (tests/golden/seed_losses.json) and finite differences.
#include <ATen/ATen.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kvalign/loss/cosine_term.h"
#include "kvalign/loss/mse_term.h"
#include "kvalign/loss/task_term.h"
#include "tests/support/golden_fill.h"
#include "tests/support/gradient_check.h"

namespace kvalign {
namespace {

using testing::golden_double;
using testing::golden_fill;

// The inputs that the golden file describes; 4 sequences of 16 tokens, width 4096.
LossInput golden_input(at::ScalarType dtype) {
  return {.predicted_RTD = golden_fill({1, 64, 512}, 100, 1.0).repeat({1, 1, 8}).to(dtype),
          .target_RTD = golden_fill({1, 64, 4096}, 200, 2.0).to(dtype),
          .sequence_offsets = at::arange(0, 65, 16, at::kLong)};
}

TaskHead golden_head(at::ScalarType dtype) {
  return {golden_fill({5, 4096}, 6, 0.125).to(dtype), golden_fill({5}, 7, 0.125).to(dtype)};
}

void expect_golden(const std::function<double(at::ScalarType)>& term, const std::string& name) {
  const auto golden =
      nlohmann::json::parse(std::ifstream(KVALIGN_SOURCE_DIR "/tests/golden/seed_losses.json"));
  const double expected = golden.at("terms").at(name);
  EXPECT_NEAR(term(at::kDouble), expected, 1e-12 * expected) << name;
  // float32 sums 262,144 squares pairwise: a few units in the last place.
  EXPECT_NEAR(term(at::kFloat), expected, 1e-6 * expected) << name;
}

TEST(LossTerms, EqualPythonTorch) {
  expect_golden(
      [](at::ScalarType dtype) { return MseTerm().compute(golden_input(dtype)).item<double>(); },
      "mse");
  expect_golden(
      [](at::ScalarType dtype) { return CosineTerm().compute(golden_input(dtype)).item<double>(); },
      "cosine");
  for (const auto& [target, name] :
       {std::pair{TaskTarget::kHard, "task"}, {TaskTarget::kSoft, "task_soft"}}) {
    expect_golden(
        [target = target](at::ScalarType dtype) {
          return TaskTerm(golden_head(dtype), target).compute(golden_input(dtype)).item<double>();
        },
        name);
  }
}

// 2 streams, 3 sequences of 1, 3 and 2 tokens, width 4.
LossInput small_input() {
  return {.predicted_RTD = golden_double({2, 6, 4}, 1).requires_grad_(),
          .target_RTD = golden_double({2, 6, 4}, 2),
          .sequence_offsets = at::tensor({0, 1, 4, 6}, at::kLong)};
}

TEST(LossTerms, GradientsMatchFiniteDifferences) {
  const TaskHead head{golden_double({3, 8}, 3, 4.0), golden_double({3}, 4)};
  const MseTerm mse;
  const CosineTerm cosine;
  const TaskTerm hard(head, TaskTarget::kHard);
  const TaskTerm soft(head, TaskTarget::kSoft);
  for (const LossTerm* term : std::initializer_list<const LossTerm*>{&mse, &cosine, &hard, &soft}) {
    SCOPED_TRACE(term->name());
    const LossInput input = small_input();
    testing::expect_gradient_matches([&] { return term->compute(input); }, input.predicted_RTD);
  }
}

// Views with strides of their own, as a projector with one feature group returns them.
TEST(LossTerms, DoNotDependOnStrides) {
  for (const bool target_too : {false, true}) {
    const LossInput input = small_input();
    LossInput strided = input;
    const auto permute = [](const at::Tensor& tensor) {
      return tensor.detach().transpose(0, 1).contiguous().transpose(0, 1);
    };
    strided.predicted_RTD = permute(input.predicted_RTD).requires_grad_();
    if (target_too) {
      strided.target_RTD = permute(input.target_RTD);
    }
    const CosineTerm cosine;
    const at::Tensor expected = cosine.compute(input);
    const at::Tensor got = cosine.compute(strided);
    expected.backward();
    got.backward();
    EXPECT_NEAR(got.item<double>(), expected.item<double>(), 1e-15);
    EXPECT_TRUE(
        at::allclose(strided.predicted_RTD.grad(), input.predicted_RTD.grad(), 1e-12, 1e-15));
  }
}

TEST(LossTerms, CosineIsZeroForEqualDirectionsAndSurvivesZeros) {
  LossInput input = small_input();
  input.predicted_RTD = input.target_RTD * 3.0;
  EXPECT_NEAR(CosineTerm().compute(input).item<double>(), 0.0, 1e-15);
  input.predicted_RTD = at::zeros_like(input.target_RTD).requires_grad_();
  const at::Tensor loss = CosineTerm().compute(input);
  loss.backward();
  EXPECT_EQ(loss.item<double>(), 1.0);
  EXPECT_TRUE(input.predicted_RTD.grad().isfinite().all().item<bool>());
}

TEST(LossTerms, NothingFlowsIntoTheTargetOrTheHead) {
  LossInput input = small_input();
  input.target_RTD.requires_grad_();
  const TaskHead head{golden_double({3, 8}, 3), golden_double({3}, 4)};
  TaskTerm(head, TaskTarget::kSoft).compute(input).backward();
  EXPECT_FALSE(input.target_RTD.grad().defined());
  EXPECT_TRUE(input.predicted_RTD.grad().defined());
}

}  // namespace
}  // namespace kvalign
