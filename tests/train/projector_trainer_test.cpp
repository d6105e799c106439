// One step: what it changes, what it skips and counts, and how its state comes back.
#include "kvalign/train/projector_trainer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>

#include "tests/support/flat_geometry.h"
#include "tests/support/golden_fill.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using testing::flat;
using testing::golden_fill;

constexpr int64_t kBatchTokens = 10;

PairedBatch make_batch(uint64_t seed) {
  return {.sender_STd = golden_fill({1, kBatchTokens, 6}, seed, 1.0),
          .receiver_RTD = golden_fill({1, kBatchTokens, 8}, seed + 1, 1.0),
          .sequence_offsets = at::tensor({int64_t{0}, int64_t{4}, kBatchTokens})};
}

PairedBatch bad_batch() {
  PairedBatch batch = make_batch(1);
  batch.sender_STd[0][3][2].fill_(std::numeric_limits<float>::quiet_NaN());
  return batch;
}

struct Training {  // members refer to one another: not to be copied
  explicit Training(const std::string& kind = "linear_residual")
      : projector({.kind = kind,
                   .norm = "layer",
                   .hidden_size = 5,
                   .standardise_features = false,
                   .standardise_targets = false},
                  flat(6), flat(8)),
        loss({.task = 0}, std::nullopt),
        trainer(projector, loss, options, at::kCPU) {}
  at::Tensor weight() const { return projector.projector().parameters()[0].detach().clone(); }

  TrainOptions options;
  KvProjector projector;
  MultiTaskLoss loss;
  ProjectorTrainer trainer;
};

TEST(ProjectorTrainer, LowersTheLossOfABatch) {
  Training training;
  const PairedBatch batch = make_batch(1);
  const double before = training.trainer.evaluate(batch).total.item<double>();
  for (int step = 0; step < 50; ++step) {
    const StepOutcome outcome = training.trainer.step(batch, 1e-2, 0);
    EXPECT_FALSE(outcome.loss.total.requires_grad());
    EXPECT_GT(outcome.grad_norm.item<double>(), 0.0);
  }
  EXPECT_LT(training.trainer.evaluate(batch).total.item<double>(), 0.8 * before);
}

TEST(ProjectorTrainer, SkipsAndCountsStepsThatAreNotFinite) {
  Training training;
  training.trainer.step(make_batch(1), 1e-2, 0);
  const at::Tensor before = training.weight();
  training.trainer.step(bad_batch(), 1e-2, 0);
  training.trainer.step(bad_batch(), 1e-2, 0);
  EXPECT_TRUE(at::equal(training.weight(), before));
  EXPECT_EQ(training.trainer.skipped_steps().total, 2);
  training.trainer.step(make_batch(1), 1e-2, 0);
  EXPECT_FALSE(at::equal(training.weight(), before));
  training.trainer.step(bad_batch(), 1e-2, 0);
  EXPECT_EQ(training.trainer.skipped_steps().total, 3);
  EXPECT_EQ(training.trainer.skipped_steps().longest_row, 2);
}

TEST(ProjectorTrainer, GoesOnFromItsState) {
  Training one, other;
  for (uint64_t step = 0; step < 5; ++step) one.trainer.step(make_batch(step), 1e-2, 0);
  other.trainer.load_state(one.trainer.state());
  for (uint64_t step = 5; step < 10; ++step) {
    one.trainer.step(make_batch(step), 1e-2, 0);
    other.trainer.step(make_batch(step), 1e-2, 0);
  }
  EXPECT_TRUE(at::equal(one.weight(), other.weight()));
}

TEST(ProjectorTrainer, NamesWhatAStateLacks) {
  Training training;
  std::vector<NamedTensor> state = training.trainer.state();
  const std::string name = state.front().name;
  state.front().tensor = at::zeros({2, 2});
  EXPECT_THROWS_WITH(training.trainer.load_state(state), "expected " + name + " of shape");
  state.erase(state.begin());
  EXPECT_THROWS_WITH(training.trainer.load_state(state), "tensor " + name + " is missing");
}

TEST(ProjectorTrainer, RefusesAProjectorWithoutParameters) {
  EXPECT_THROWS_WITH(Training("pad"), "nothing to train");
}

TEST(ProjectorTrainer, RanksAreTrainedInTurn) {
  const auto one_layer = [](int64_t head_dim) {
    return KvGeometry{.model = "one layer",
                      .num_layers = 1,
                      .num_kv_heads = 1,
                      .head_dim = head_dim,
                      .rope = RopeOptions{.rotary_dim = head_dim}};
  };
  KvProjector projector({.kind = "low_rank",
                         .norm = "none",
                         .rank = 5,
                         .standardise_features = false,
                         .standardise_targets = false,
                         .layer_map = {.kind = "all", .features = "both"}},
                        one_layer(4), one_layer(6));
  const MultiTaskLoss loss({.task = 0}, std::nullopt);
  const TrainOptions options{.weight_decay = 0, .ranks = {2, 5}};
  ProjectorTrainer trainer(projector, loss, options, at::kCPU);
  const PairedBatch batch{.sender_STd = golden_fill({2, kBatchTokens, 4}, 1, 1.0),
                          .receiver_RTD = golden_fill({2, kBatchTokens, 6}, 2, 1.0),
                          .sequence_offsets = at::tensor({int64_t{0}, kBatchTokens})};
  const auto moved = [&](int64_t number) {
    at::Tensor weight = projector.projector().named_parameters()["encoder.weight"];
    const at::Tensor before = weight.detach().clone();
    trainer.step(batch, 1e-2, number);
    return (weight.detach() - before).abs().amax(at::IntArrayRef{0, 2});
  };
  const at::Tensor first = moved(0), second = moved(1);
  EXPECT_GT(first.narrow(0, 0, 2).min().item<double>(), 0);
  EXPECT_EQ(first.narrow(0, 2, 3).max().item<double>(), 0);
  EXPECT_GT(second.min().item<double>(), 0);
  EXPECT_EQ(projector.projector().used_rank(), 0);
  EXPECT_THROWS_WITH(ProjectorTrainer(projector, loss, {.ranks = {6}}, at::kCPU),
                     "expected 0 .. 5, got 6");
}

}  // namespace
}  // namespace kvalign
