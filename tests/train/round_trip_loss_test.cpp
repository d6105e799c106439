// Training of what reads the receiver's cache: the losses against their formulas, runs of
// bidirectional and autoencoder from recipe to checkpoint, and what is refused.
#include "kvalign/train/round_trip_loss.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <map>

#include "kvalign/core/temporary_folder.h"
#include "kvalign/train/checkpoint.h"
#include "kvalign/train/distiller.h"
#include "kvalign/train/projector_trainer.h"
#include "tests/support/flat_geometry.h"
#include "tests/support/golden_fill.h"
#include "tests/support/throws.h"
#include "tests/train/tiny_run.h"

namespace kvalign {
namespace {

using testing::flat;
using testing::golden_fill;
using testing::make_tiny_dataset;
using testing::read_metrics;
using testing::tiny_recipe;

PairedBatch two_sequences() {
  return {.sender_STd = golden_fill({1, 10, 6}, 1, 1.0),
          .receiver_RTD = golden_fill({1, 10, 8}, 2, 1.0),
          .sequence_offsets = at::tensor({int64_t{0}, int64_t{4}, int64_t{10}})};
}

LossOptions without_task() {
  LossOptions options;
  options.task = 0;
  return options;
}

// mse + 0.5 (1 - cosine), by torch's own functions.
double feature_loss(const at::Tensor& output, const at::Tensor& target) {
  return (at::mse_loss(output, target) +
          0.5 * (1 - at::cosine_similarity(output, target, -1, 1e-8).mean()))
      .item<double>();
}

TEST(RoundTripLoss, AddsEveryWayWithItsWeight) {
  KvProjector projector({.kind = "bidirectional"}, flat(6), flat(8));
  const RoundTripOptions options{.backward = 2.0, .cycle_sender = 0.25, .cycle_receiver = 0.125};
  const RoundTripLoss round_trip(projector, options, without_task());
  const MultiTaskLoss loss(without_task(), std::nullopt);
  const ProjectorTrainer trainer(projector, loss, {}, at::kCPU, {}, &round_trip);
  const PairedBatch batch = two_sequences();
  const LossValue got = trainer.evaluate(batch);

  const at::NoGradGuard no_gradients;
  const at::Tensor there = projector.project(batch.sender_STd);
  const at::Tensor back = projector.compress(batch.receiver_RTD, batch.sequence_offsets);
  const double expected =
      feature_loss(there, batch.receiver_RTD) + 2.0 * feature_loss(back, batch.sender_STd) +
      0.25 * feature_loss(projector.compress(there, batch.sequence_offsets), batch.sender_STd) +
      0.125 * feature_loss(projector.project(back), batch.receiver_RTD);
  EXPECT_NEAR(got.total.item<double>(), expected, 1e-5);
  std::vector<std::string> names;
  for (const auto& term : got.terms) names.push_back(term.first);
  EXPECT_THAT(names, ::testing::ElementsAre("mse", "cosine", "backward_mse", "backward_cosine",
                                            "cycle_sender_mse", "cycle_sender_cosine",
                                            "cycle_receiver_mse", "cycle_receiver_cosine"));
  EXPECT_NEAR(got.terms[2].second.item<double>(),
              at::mse_loss(back, batch.sender_STd).item<double>(), 1e-6);
}

TEST(RoundTripLoss, SaysWhatItExpects) {
  const KvProjector linear({}, flat(6), flat(8));
  const KvProjector both_ways({.kind = "bidirectional"}, flat(6), flat(8));
  RoundTripOptions cycle;
  cycle.cycle_sender = 1;
  EXPECT_THROWS_WITH(RoundTripLoss(linear, cycle, {}),
                     "expect projector.kind bidirectional, got linear_residual");
  LossOptions task_alone;
  task_alone.mse = task_alone.cosine = 0;
  EXPECT_THROWS_WITH(RoundTripLoss(both_ways, {}, task_alone),
                     "bidirectional expects loss.mse or loss.cosine above 0");
  EXPECT_NO_THROW(RoundTripLoss(linear, {}, task_alone));
}

class RoundTripRun : public ::testing::Test {
 protected:
  RoundTripRun() { make_tiny_dataset(folder_.file("data")); }

  Recipe recipe(const std::string& kind, const std::string& run) {
    Recipe recipe = tiny_recipe(folder_.file("data"), folder_.file(run));
    recipe.projector.kind = kind;
    recipe.projector.rank = 8;
    return recipe;
  }

  // Terms of the validations, in order.
  std::vector<std::map<std::string, double>> validations(const std::string& run) {
    std::vector<std::map<std::string, double>> found;
    for (const nlohmann::json& event : read_metrics(folder_.file(run))) {
      if (event["event"] != "validation") continue;
      found.emplace_back();
      for (const auto& item : event.items()) {
        if (item.value().is_number()) found.back()[item.key()] = item.value();
      }
    }
    return found;
  }

  PairedBatch all_sequences() {
    const auto dataset = PairedDataset::open(folder_.file("data"));
    std::vector<int64_t> sequences;
    for (int64_t i = 0; i < dataset->num_sequences(); ++i) sequences.push_back(i);
    return dataset->read(sequences);
  }

  TemporaryFolder folder_;
};

TEST_F(RoundTripRun, TrainsBothWaysAndKeepsThem) {
  Recipe both = recipe("bidirectional", "run");
  both.round_trip.cycle_sender = 0.5;
  both.train.epochs = 20;
  const DistillResult result = distill(both);
  const auto found = validations("run");
  // The sender does not know all of the receiver's factors.
  EXPECT_LT(found.back().at("loss_mse"), found.front().at("loss_mse"));
  for (const char* term : {"loss_backward_mse", "loss_cycle_sender_mse"}) {
    EXPECT_LT(found.back().at(term), 0.5 * found.front().at(term)) << term;
  }
  EXPECT_FALSE(found.back().contains("loss_cycle_receiver_mse"));

  // What was saved does what was validated: the mean of the loss's terms, over all sequences.
  const std::shared_ptr<KvProjector> saved = load_checkpoint(result.checkpoint).projector;
  const at::NoGradGuard no_gradients;
  const PairedBatch batch = all_sequences();
  const at::Tensor back_STd = saved->compress(batch.receiver_RTD, batch.sequence_offsets);
  const at::Tensor variance = batch.sender_STd.var(1, /*unbiased=*/false).mean();
  EXPECT_LT(at::mse_loss(back_STd, batch.sender_STd).item<double>(), 0.5 * variance.item<double>());
}

TEST_F(RoundTripRun, ResumedRunsAndStartsGoOnWithBothWays) {
  for (const char* kind : {"bidirectional", "autoencoder"}) {
    const std::string name = kind;
    distill(recipe(kind, name + "_whole"));
    int64_t steps = 0;
    distill(recipe(kind, name + "_parts"), {.stop_requested = [&] { return ++steps == 7; }});
    const DistillResult resumed = distill(recipe(kind, name + "_parts"), {.resume = true});
    EXPECT_EQ(read_metrics(folder_.file(name + "_whole")),
              read_metrics(folder_.file(name + "_parts")));

    Recipe again = recipe(kind, name + "_again");
    again.fit.start = resumed.checkpoint;
    again.train.epochs = 1;
    again.train.learning_rate = 1e-9;
    distill(again);
    const auto before = validations(name + "_parts").back(),
               after = validations(name + "_again").back();
    for (const auto& [term, value] : before) {
      if (term.starts_with("loss"))
        EXPECT_NEAR(after.at(term), value, 1e-4 * value) << kind << term;
    }
  }
}

// A linear autoencoder cannot beat the principal components of what it is measured on.
TEST_F(RoundTripRun, AutoencoderComesNearThePrincipalComponents) {
  Recipe coder = recipe("autoencoder", "run");
  coder.loss = without_task();
  coder.loss.cosine = 0;
  coder.projector.rank = 5;
  coder.projector.standardise_targets = false;
  coder.loader.batch_tokens = 96;
  coder.train.epochs = 60;
  coder.train.learning_rate = 0.03;
  coder.train.schedule = "cosine";
  coder.split = {.validation = 0, .test = 0};
  const std::shared_ptr<KvProjector> saved = load_checkpoint(distill(coder).checkpoint).projector;
  const at::NoGradGuard no_gradients;
  const at::Tensor cache_RTD = all_sequences().receiver_RTD;
  const double error = at::mse_loss(saved->reconstruct(cache_RTD), cache_RTD).item<double>();
  const at::Tensor rows_TD = cache_RTD[0].to(at::kDouble);
  const at::Tensor values = std::get<1>(at::linalg_svd(rows_TD - rows_TD.mean(0), false));
  const double least = values.narrow(0, 5, values.size(0) - 5).square().sum().item<double>() /
                       static_cast<double>(rows_TD.numel());
  EXPECT_GE(error, least * (1 - 1e-5));
  EXPECT_LE(error, least * 1.1);
}

TEST_F(RoundTripRun, HasNoClosedFormAndOneKindOfWeights) {
  Recipe ridge = recipe("bidirectional", "ridge");
  ridge.fit.kind = "ridge";
  EXPECT_THROWS_WITH(distill(ridge), "got bidirectional");
  Recipe other = recipe("bidirectional", "other");
  other.train.epochs = 1;
  other.fit.start = distill(other).checkpoint;
  other.run_folder = folder_.file("another");
  other.projector.compress_weights = "sum_one";
  EXPECT_THROWS_WITH(distill(other), "compress_weights sum_one, got mean_one");
}

}  // namespace
}  // namespace kvalign
