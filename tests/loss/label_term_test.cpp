// The label term against its formula, and where its gradients go.
#include "kvalign/loss/label_term.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "kvalign/loss/multi_task_loss.h"
#include "tests/support/golden_fill.h"
#include "tests/support/gradient_check.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using testing::expect_gradient_matches;
using testing::golden_fill;

// 2 streams of width 3, so 6 features a sequence, of 3 classes.
StandardisedTaskHead standardised_head(at::ScalarType type = at::kFloat) {
  return {golden_fill({3, 6}, 1, 1.0).to(type), golden_fill({3}, 2, 1.0).to(type),
          golden_fill({6}, 3, 1.0).to(type), golden_fill({6}, 4, 0.5).to(type) + 1.0};
}

// 2 sequences, of 2 and 3 tokens.
LossInput labelled_input(at::ScalarType type = at::kFloat) {
  return {.predicted_RTD = golden_fill({2, 5, 3}, 5, 1.0).to(type),
          .target_RTD = at::zeros({2, 5, 3}, type),
          .sequence_offsets = at::tensor({int64_t{0}, int64_t{2}, int64_t{5}}),
          .labels_B = at::tensor({int64_t{2}, int64_t{0}})};
}

// -log softmax(W (mean - m) / s + b) at the label, number by number.
TEST(LabelTerm, IsTheMeanNegativeLogProbabilityOfTheLabels) {
  const StandardisedTaskHead head = standardised_head(at::kDouble);
  const LossInput input = labelled_input(at::kDouble);
  const auto* offset = input.sequence_offsets.const_data_ptr<int64_t>();
  double expected = 0;
  for (int64_t b = 0; b < 2; ++b) {
    double score[3];
    for (int64_t k = 0; k < 3; ++k) {
      score[k] = head.bias_K[k].item<double>();
      for (int64_t c = 0; c < 6; ++c) {
        double mean = 0;
        for (int64_t t = offset[b]; t < offset[b + 1]; ++t) {
          mean += input.predicted_RTD[c / 3][t][c % 3].item<double>();
        }
        mean /= static_cast<double>(offset[b + 1] - offset[b]);
        score[k] += head.weight_KC[k][c].item<double>() * (mean - head.mean_C[c].item<double>()) /
                    head.scale_C[c].item<double>();
      }
    }
    const double total = std::exp(score[0]) + std::exp(score[1]) + std::exp(score[2]);
    expected -= std::log(std::exp(score[input.labels_B[b].item<int64_t>()]) / total) / 2;
  }
  EXPECT_NEAR(LabelTerm(head).compute(input).item<double>(), expected, 1e-12);
}

TEST(LabelTerm, GradientsReachTheCacheAndTheHead) {
  LossInput input = labelled_input(at::kDouble);
  StandardisedTaskHead head = standardised_head(at::kDouble);
  input.predicted_RTD.requires_grad_();
  head.weight_KC.requires_grad_();
  head.bias_K.requires_grad_();
  const LabelTerm term(head);
  for (const at::Tensor& leaf : {input.predicted_RTD, head.weight_KC, head.bias_K}) {
    expect_gradient_matches([&] { return term.compute(input); }, leaf);
  }
}

TEST(LabelTerm, IsALossByItself) {
  const MultiTaskLoss loss(std::make_unique<LabelTerm>(standardised_head()));
  const LossInput input = labelled_input();
  const LossValue value = loss.compute(input);
  EXPECT_EQ(loss.term_names(), std::vector<std::string>{"label"});
  EXPECT_TRUE(value.total.equal(LabelTerm(standardised_head()).compute(input)));
}

TEST(LabelTerm, MissesLabels) {
  LossInput input = labelled_input();
  input.labels_B = at::Tensor();
  EXPECT_THROWS_WITH(LabelTerm(standardised_head()).compute(input),
                     "expected a label for each sequence, got none");
}

TEST(StandardisedTaskHead, IsTheHeadItWasMadeOf) {
  const TaskHead head{golden_fill({3, 6}, 1, 1.0), golden_fill({3}, 2, 1.0)};
  const StandardisedTaskHead standardised =
      standardise(head, golden_fill({6}, 3, 50.0), golden_fill({6}, 4, 0.5) + 1.0);
  const at::Tensor pooled = golden_fill({4, 6}, 7, 1.0);
  const at::Tensor features = (pooled - standardised.mean_C) / standardised.scale_C;
  // Scores of about 100, of which the bias takes most away again: float32 keeps 1e-7 of them.
  EXPECT_TRUE(at::allclose(at::linear(features, standardised.weight_KC, standardised.bias_K),
                           head.logits_of_pooled(pooled), 0, 1e-4));
  EXPECT_TRUE(at::allclose(standardised.folded().logits_of_pooled(pooled),
                           head.logits_of_pooled(pooled), 0, 1e-4));
}

TEST(StandardisedTaskHead, KeepsTheBitsWithoutStandardisation) {
  const TaskHead head{golden_fill({3, 6}, 1, 1.0), golden_fill({3}, 2, 1.0)};
  const TaskHead same =
      StandardisedTaskHead{head.weight_KC, head.bias_K, at::zeros({6}), at::ones({6})}.folded();
  EXPECT_TRUE(same.weight_KC.equal(head.weight_KC));
  EXPECT_TRUE(same.bias_K.equal(head.bias_K));
}

}  // namespace
}  // namespace kvalign
