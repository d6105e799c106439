// Round trips of an evaluation against LibTorch on the whole split at once.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "kvalign/core/temporary_folder.h"
#include "kvalign/dataset/generator.h"
#include "kvalign/evaluate/evaluate.h"
#include "kvalign/projector/kv_projector.h"
#include "kvalign/train/checkpoint.h"

namespace kvalign {
namespace {

class RoundTripsTest : public ::testing::Test {
 protected:
  RoundTripsTest() {
    GeneratorOptions generator;
    generator.layout = "layers";
    generator.sender = {.num_layers = 2, .num_kv_heads = 2, .head_dim = 8};
    generator.receiver = {.num_layers = 3, .num_kv_heads = 2, .head_dim = 16};
    generator.num_sequences = 20;
    generator.tokens_per_sequence = 12;
    generator.num_classes = 0;
    recipe_.dataset.folder = folder_.file("data");
    generate_paired_dataset(generator, recipe_.dataset.folder);
    recipe_.device = "cpu";
    recipe_.run_folder = folder_.file("run");
    options_.bootstrap_resamples = 200;
    options_.batch_tokens = 20;  // several batches
    options_.certify.sequences = 0;
    options_.baselines = {};
    dataset_ = PairedDataset::open(recipe_.dataset.folder);
  }

  // An untrained projector: its path.
  std::string save(const std::string& kind) {
    const auto projector = std::make_shared<KvProjector>(
        ProjectorOptions{.kind = kind,
                         .rank = 20,
                         .standardise_features = false,
                         .standardise_targets = false,
                         .layer_map = {.kind = "all", .features = "both"}},
        dataset_->index().sender.geometry, dataset_->index().receiver.geometry);
    const std::string path = folder_.file(kind + ".safetensors");
    save_checkpoint(path, {.projector = projector,
                           .recipe = "{}",
                           .dataset_sha256 = dataset_->sha256(),
                           .split_sha256 = split_by_sequence(*dataset_, recipe_.split).sha256,
                           .num_sinks = 4,
                           .skip_first_tokens = 4});
    return path;
  }

  TemporaryFolder folder_;
  Recipe recipe_;
  EvaluateOptions options_;
  std::shared_ptr<const PairedDataset> dataset_;
};

// Means over streams of |y - p| / |y| and of 1 - |y - p|^2 / |y - mean|^2 over the values.
struct Expected {
  double relative_error, r2_values;
};

Expected expected_of(const at::Tensor& predicted, const at::Tensor& truth) {
  const at::Tensor y = truth.to(at::kDouble), p = predicted.to(at::kDouble);
  const auto squares = [](const at::Tensor& values) { return values.square().sum({1, 2}); };
  const at::Tensor relative_R = (squares(y - p) / squares(y)).sqrt();
  const at::Tensor r2_R = 1 - squares(y - p) / squares(y - y.mean(1, true));
  return {relative_R.mean().item<double>(),
          r2_R.narrow(0, r2_R.size(0) / 2, r2_R.size(0) / 2).mean().item<double>()};
}

void expect_row(const RoundTripRow& row, const std::string& way, const Expected& expected) {
  EXPECT_EQ(row.way, way);
  const auto figure = [&](const std::string& name) {
    for (const NamedInterval& found : row.headline) {
      if (found.name == name) return found.interval;
    }
    ADD_FAILURE() << "no figure " << name;
    return Interval{};
  };
  EXPECT_NEAR(figure("relative_error").value, expected.relative_error, 1e-5) << way;
  EXPECT_NEAR(figure("r2_values").value, expected.r2_values, 1e-4) << way;
  EXPECT_LT(figure("relative_error").low, expected.relative_error) << way;
  EXPECT_GT(figure("relative_error").high, expected.relative_error) << way;
}

TEST_F(RoundTripsTest, AreThoseOfTheWholeSplitAtOnce) {
  const std::string both = save("bidirectional"), coder = save("autoencoder");
  options_.checkpoints = {"linear=" + save("linear_residual"), "both=" + both, "coder=" + coder};
  const Report report = evaluate(recipe_, options_);
  const PairedBatch batch = dataset_->read(split_by_sequence(*dataset_, recipe_.split).test, 4);
  const at::Tensor &sender = batch.sender_STd, &receiver = batch.receiver_RTD;
  const auto projector = load_checkpoint(both).projector;
  const at::NoGradGuard no_gradients;
  const at::Tensor back = projector->compress(receiver, batch.sequence_offsets);
  const at::Tensor there = projector->project(sender);
  ASSERT_EQ(report.round_trips.size(), 4);
  EXPECT_EQ(report.round_trips[0].row, "both");
  expect_row(report.round_trips[0], "receiver to sender", expected_of(back, sender));
  expect_row(report.round_trips[1], "sender to receiver to sender",
             expected_of(projector->compress(there, batch.sequence_offsets), sender));
  expect_row(report.round_trips[2], "receiver to sender to receiver",
             expected_of(projector->project(back), receiver));
  EXPECT_EQ(report.round_trips[3].row, "coder");
  expect_row(report.round_trips[3], "receiver to latent to receiver",
             expected_of(load_checkpoint(coder).projector->reconstruct(receiver), receiver));
  EXPECT_EQ(to_json(report)["round_trips"].size(), 4);
  EXPECT_EQ(to_json(report)["round_trips"][1]["way"], "sender to receiver to sender");
}

TEST_F(RoundTripsTest, AreAbsentForProjectorsThatGoOneWay) {
  options_.checkpoints = {"linear=" + save("linear_residual")};
  const Report report = evaluate(recipe_, options_);
  EXPECT_TRUE(report.round_trips.empty());
  EXPECT_FALSE(to_json(report).contains("round_trips"));
}

}  // namespace
}  // namespace kvalign
