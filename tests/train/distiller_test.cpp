// Whole runs on a tiny dataset: what they write, how they end, and that they can be repeated.
#include "kvalign/train/distiller.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "kvalign/core/files.h"
#include "kvalign/core/temporary_folder.h"
#include "kvalign/projector/kv_projector.h"
#include "kvalign/train/checkpoint.h"
#include "tests/support/throws.h"
#include "tests/train/tiny_run.h"

namespace kvalign {
namespace {

using testing::make_tiny_dataset;
using testing::read_losses;
using testing::read_metrics;
using testing::tiny_recipe;

struct Distiller : ::testing::Test {
  void SetUp() override { make_tiny_dataset(dataset()); }
  std::string dataset() const { return folder_.file("pairs"); }
  Recipe recipe(const std::string& run = "run") const {
    return tiny_recipe(dataset(), folder_.file(run));
  }
  TemporaryFolder folder_;
};

// Keeps what it is told.
struct Recorder : TrainObserver {
  void on_start(const TrainStart& start) override { starts.push_back(start); }
  void on_step(const TrainStep& step) override { steps.push_back(step); }
  void on_validation(const Validation& validation) override { validations.push_back(validation); }
  void on_warning(const std::string& text) override { warnings.push_back(text); }
  std::vector<TrainStart> starts;
  std::vector<TrainStep> steps;
  std::vector<Validation> validations;
  std::vector<std::string> warnings;
};

TEST_F(Distiller, TrainsAndTellsOfIt) {
  Recorder recorder;
  const DistillResult result = distill(recipe(), {.observer = &recorder});
  EXPECT_EQ(result.steps, 30);
  EXPECT_EQ(result.epochs, 5);
  EXPECT_FALSE(result.interrupted);
  ASSERT_EQ(recorder.starts.size(), 1u);
  EXPECT_EQ(recorder.starts[0].total_steps, 30);
  EXPECT_EQ(recorder.starts[0].train_tokens, 24 * 12);
  EXPECT_GE(recorder.starts[0].task_head_accuracy, 0.0);
  ASSERT_EQ(recorder.steps.size(), 30u);
  EXPECT_EQ(recorder.steps[29].tokens, 5 * 24 * 12);
  EXPECT_EQ(recorder.steps[0].terms.size(), 3u);
  ASSERT_EQ(recorder.validations.size(), 5u);
  // Three sequences say little about the task term, but the error must fall.
  EXPECT_EQ(recorder.validations[0].terms[0].first, "mse");
  EXPECT_LT(recorder.validations[4].terms[0].second, 0.9 * recorder.validations[0].terms[0].second);
  const auto metrics = nlohmann::json::parse(load_checkpoint(result.checkpoint).metrics);
  EXPECT_EQ(metrics["validation"]["loss"], result.best_loss);
}

TEST_F(Distiller, FillsTheRunFolder) {
  distill(recipe());
  for (const char* name :
       {"config.yaml", "metrics.jsonl", "events.out.tfevents.kvalign", "checkpoint.safetensors",
        "checkpoint_last.safetensors", "training_state.safetensors"}) {
    EXPECT_TRUE(std::filesystem::exists(folder_.file("run/") + name)) << name;
  }
  const auto events = read_metrics(folder_.file("run"));
  EXPECT_EQ(events.front()["event"], "start");
  EXPECT_EQ(events.back()["event"], "finish");
  Recipe again;
  read_options(again, folder_.file("run/config.yaml"));
  EXPECT_EQ(options_to_yaml(again), options_to_yaml(recipe()));
}

TEST_F(Distiller, TheSameSeedGivesTheSameBytes) {
  distill(recipe("one"));
  distill(recipe("other"));
  EXPECT_EQ(read_metrics(folder_.file("one")), read_metrics(folder_.file("other")));
  EXPECT_EQ(load_checkpoint(folder_.file("one/checkpoint.safetensors")).metrics,
            load_checkpoint(folder_.file("other/checkpoint.safetensors")).metrics);
  Recipe reseeded = recipe("third");
  reseeded.seed = 2;
  distill(reseeded);
  EXPECT_NE(read_losses(folder_.file("one")), read_losses(folder_.file("third")));
}

TEST_F(Distiller, StopsOnRequestAndResumesToTheSameBytes) {
  distill(recipe("whole"));
  int64_t steps_left = 9;  // in the middle of the second epoch
  Recorder recorder;
  DistillResult result =
      distill(recipe("parts"), {.stop_requested = [&] { return --steps_left == 0; }});
  EXPECT_TRUE(result.interrupted);
  EXPECT_EQ(result.steps, 9);
  result = distill(recipe("parts"), {.observer = &recorder, .resume = true});
  EXPECT_FALSE(result.interrupted);
  EXPECT_EQ(result.steps, 30);
  EXPECT_EQ(recorder.starts[0].resumed_from_step, 9);
  EXPECT_EQ(read_metrics(folder_.file("whole")), read_metrics(folder_.file("parts")));
  const auto weights = [&](const std::string& run) {
    return load_checkpoint(folder_.file(run + "/checkpoint_last.safetensors"))
        .projector->projector()
        .parameters();
  };
  const auto whole = weights("whole"), parts = weights("parts");
  for (size_t i = 0; i < whole.size(); ++i) EXPECT_TRUE(at::equal(whole[i], parts[i])) << i;
}

TEST_F(Distiller, DoesNothingWhenAFinishedRunIsResumed) {
  const DistillResult before = distill(recipe());
  const std::string metrics = read_file(folder_.file("run/metrics.jsonl"));
  const DistillResult after = distill(recipe(), {.resume = true});
  EXPECT_EQ(after.steps, before.steps);
  EXPECT_EQ(after.best_loss, before.best_loss);
  EXPECT_EQ(read_file(folder_.file("run/metrics.jsonl")), metrics);
}

TEST_F(Distiller, WillNotOverwriteARun) {
  distill(recipe());
  EXPECT_THROWS_WITH(distill(recipe()), "holds a run already");
}

TEST_F(Distiller, WillNotResumeAnotherRecipe) {
  distill(recipe());
  Recipe changed = recipe();
  changed.train.learning_rate = 0.5;
  EXPECT_THROWS_WITH(distill(changed, {.resume = true}), "learning_rate: 0.01\" became");
}

TEST_F(Distiller, WillNotResumeOnOtherData) {
  distill(recipe());
  std::filesystem::remove_all(dataset());
  make_tiny_dataset(dataset(), /*num_classes=*/3);
  EXPECT_THROWS_WITH(distill(recipe(), {.resume = true}), "expected the dataset with SHA-256");
}

TEST_F(Distiller, StopsEarlyAndKeepsTheBest) {
  Recipe overfitting = recipe();
  overfitting.train.epochs = 200;
  overfitting.train.learning_rate = 0.1;
  overfitting.train.early_stopping_patience = 3;
  Recorder recorder;
  const DistillResult result = distill(overfitting, {.observer = &recorder});
  EXPECT_TRUE(result.stopped_early);
  EXPECT_LT(result.epochs, 200);
  ASSERT_GE(recorder.validations.size(), 4u);
  const size_t count = recorder.validations.size();
  for (size_t i = count - 3; i < count; ++i) EXPECT_FALSE(recorder.validations[i].improved);
  EXPECT_TRUE(recorder.validations[count - 4].improved);
  EXPECT_EQ(recorder.validations[count - 4].loss, result.best_loss);
  EXPECT_EQ(recorder.validations[count - 4].step, result.best_step);
}

TEST_F(Distiller, GivesUpAfterTenStepsThatAreNotFinite) {
  Recipe diverging = recipe();
  diverging.projector.norm = "none";
  diverging.train.learning_rate = 1e30;
  EXPECT_THROWS_WITH(distill(diverging), "10 steps in a row had gradients that are not finite");
  diverging.run_folder = folder_.file("again");
  EXPECT_THROWS_WITH(distill(diverging), "Lower train.learning_rate");
}

TEST_F(Distiller, TrainsUnderAutocast) {
  Recipe half = recipe("half");
  half.train.autocast = "bfloat16";
  distill(recipe("full"));
  distill(half);
  const auto full_losses = read_losses(folder_.file("full"));
  const auto half_losses = read_losses(folder_.file("half"));
  EXPECT_NE(full_losses, half_losses);
  // bfloat16 keeps 8 bits; the losses of 30 steps stay together far closer than they fall.
  EXPECT_NEAR(half_losses.back(), full_losses.back(), 0.03 * full_losses.back());
}

TEST_F(Distiller, TrainsWithoutHoldingOutAnything) {
  Recipe all = recipe();
  all.split.validation = 0;
  all.split.test = 0;
  Recorder recorder;
  const DistillResult result = distill(all, {.observer = &recorder});
  EXPECT_EQ(result.best_step, -1);
  ASSERT_EQ(recorder.warnings.size(), 1u);
  EXPECT_THAT(recorder.warnings[0], ::testing::HasSubstr("split.validation is 0"));
  EXPECT_EQ(load_checkpoint(result.checkpoint).split_sha256.size(), 64u);
}

TEST_F(Distiller, NamesWhatATaskLossNeeds) {
  Recipe unlabelled = tiny_recipe(folder_.file("unlabelled"), folder_.file("run"));
  make_tiny_dataset(unlabelled.dataset.folder, /*num_classes=*/0);
  EXPECT_THROWS_WITH(distill(unlabelled), "has no labels to train a task head on. Set loss.task=0");
  unlabelled.loss.task = 0;
  EXPECT_NO_THROW(distill(unlabelled));
}

TEST_F(Distiller, MissesTheReceiverBeforeAnythingIsMeasuredOrWritten) {
  Recipe unread = recipe();
  unread.loss.kl = 1;
  EXPECT_THROWS_WITH(distill(unread), "expected loss.receiver, the Hugging Face folder");
  EXPECT_FALSE(std::filesystem::exists(folder_.file("run") + "/config.yaml"));
}

TEST_F(Distiller, LeavesOutTheSinksOfLayeredCaches) {
  GeneratorOptions options;
  options.layout = "layers";
  options.sender = {.num_layers = 2, .num_kv_heads = 2, .head_dim = 8};
  options.receiver = {.num_layers = 3, .num_kv_heads = 2, .head_dim = 16};
  options.num_sequences = 20;
  options.tokens_per_sequence = 12;
  Recipe layered = tiny_recipe(folder_.file("layered"), folder_.file("run"));
  ASSERT_EQ(generate_paired_dataset(options, layered.dataset.folder).num_sinks, 4);
  layered.projector.layer_map.kind = "all";
  Recorder recorder;
  const DistillResult result = distill(layered, {.observer = &recorder});
  EXPECT_EQ(recorder.starts[0].train_tokens, 16 * (12 - 4));
  EXPECT_EQ(load_checkpoint(result.checkpoint).skip_first_tokens, 4);
  layered.dataset.skip_first_tokens = 0;
  layered.run_folder = folder_.file("with_sinks");
  EXPECT_EQ(load_checkpoint(distill(layered).checkpoint).skip_first_tokens, 0);
}

TEST_F(Distiller, RefusesAProjectorWithNothingToTrain) {
  Recipe baseline = recipe();
  baseline.projector = baseline_options("pad", 1);
  EXPECT_THROWS_WITH(distill(baseline), "has no weights to train, so there is nothing to train");
}

// The first 20 losses of the tiny recipe, as they were when they were last looked at. Made by
//   kvalign_train_test --gtest_also_run_disabled_tests --gtest_filter='*MakeGolden*'
const std::string kGoldenLosses = KVALIGN_SOURCE_DIR "/tests/golden/tiny_cpu_losses.json";

std::vector<double> first_losses(const Recipe& recipe) {
  distill(recipe);
  std::vector<double> losses = read_losses(recipe.run_folder);
  losses.resize(20);
  return losses;
}

TEST_F(Distiller, DISABLED_MakeGoldenLosses) {
  const nlohmann::ordered_json file = {{"recipe", "tiny_recipe() of tests/train/tiny_run.h"},
                                       {"losses", first_losses(recipe())}};
  write_file_atomically(kGoldenLosses, file.dump(1) + "\n");
}

TEST_F(Distiller, FollowsTheGoldenLosses) {
  const auto expected =
      nlohmann::json::parse(read_file(kGoldenLosses))["losses"].get<std::vector<double>>();
  const std::vector<double> losses = first_losses(recipe());
  ASSERT_EQ(expected.size(), losses.size());
  for (size_t step = 0; step < losses.size(); ++step) {
    // Other machines round the generated data and the matrix products otherwise.
    EXPECT_NEAR(losses[step], expected[step], 1e-4 * expected[step]) << "step " << step;
  }
}

}  // namespace
}  // namespace kvalign
