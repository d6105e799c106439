// Fine-tuning on a tiny labelled dataset: what learns does, what is frozen keeps its bits and is
// never seen by the optimiser, and a run can be interrupted.
#include "kvalign/train/fine_tuner.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "kvalign/core/files.h"
#include "kvalign/core/temporary_folder.h"
#include "kvalign/projector/kv_projector.h"
#include "kvalign/train/checkpoint.h"
#include "kvalign/train/training_state.h"
#include "tests/support/throws.h"
#include "tests/train/tiny_run.h"

namespace kvalign {
namespace {

using testing::make_tiny_dataset;
using testing::read_losses;
using testing::read_metrics;
using testing::tiny_recipe;

struct FineTuner : ::testing::Test {
  void SetUp() override {
    make_tiny_dataset(folder_.file("pairs"));
    Recipe first = tiny_recipe(folder_.file("pairs"), folder_.file("v1"));
    first.train.epochs = 1;
    start_ = distill(first).checkpoint;
  }

  FineTuneRecipe recipe(const std::string& train, const std::string& run = "run") const {
    return {tiny_recipe(folder_.file("pairs"), folder_.file(run)),
            {.checkpoint = start_, .train = train}};
  }

  // Where the last step ended, whatever validation thought of it.
  Checkpoint last(const std::string& run = "run") const {
    return load_checkpoint(folder_.file(run + "/checkpoint_last.safetensors"));
  }

  // What the optimiser holds moments of.
  std::vector<std::string> optimised(const std::string& run = "run") const {
    const std::string prefix = "optimiser.exp_avg.";
    std::vector<std::string> names;
    for (const NamedTensor& tensor :
         load_training_state(folder_.file(run + "/training_state.safetensors")).tensors) {
      if (tensor.name.starts_with(prefix)) names.push_back(tensor.name.substr(prefix.size()));
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  TemporaryFolder folder_;
  std::string start_;
};

bool same_weights(const Checkpoint& one, const Checkpoint& other) {
  const auto left = one.projector->projector().parameters();
  const auto right = other.projector->projector().parameters();
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [](const at::Tensor& a, const at::Tensor& b) { return a.equal(b); });
}

bool same_head(const Checkpoint& one, const Checkpoint& other) {
  return one.task_head->weight_KC.equal(other.task_head->weight_KC) &&
         one.task_head->bias_K.equal(other.task_head->bias_K);
}

// The seed's loop steps an optimiser over the frozen projector: its head stays as it was.
TEST_F(FineTuner, HeadLearnsAndTheFrozenProjectorKeepsItsBits) {
  FineTuneRecipe trained = recipe("head"), untrained = recipe("head", "untrained");
  for (FineTuneRecipe* one : {&trained, &untrained}) {
    one->recipe.loss.task_head.weight_decay = 10;  // a weak start, which leaves much to learn
  }
  untrained.recipe.train.learning_rate = 1e-30;  // moves nothing that float32 can tell
  fine_tune(trained);
  fine_tune(untrained);
  EXPECT_TRUE(same_weights(last(), load_checkpoint(start_)));
  EXPECT_FALSE(same_head(last(), last("untrained")));
  EXPECT_EQ(optimised(), (std::vector<std::string>{"task_head.bias", "task_head.weight"}));
  const std::vector<double> losses = read_losses(folder_.file("run"));
  const auto of_six = [](auto first) { return std::accumulate(first, first + 6, 0.0); };
  EXPECT_LT(of_six(losses.end() - 6), 0.5 * of_six(losses.begin()));  // the last epoch, the first
}

TEST_F(FineTuner, ProjectorLearnsAndTheFrozenHeadKeepsItsBits) {
  fine_tune(recipe("head", "head"));
  FineTuneRecipe second = recipe("projector");
  second.fine_tune.checkpoint = folder_.file("head/checkpoint_last.safetensors");
  fine_tune(second);
  EXPECT_TRUE(same_head(last(), last("head")));
  EXPECT_FALSE(same_weights(last(), last("head")));
  for (const std::string& name : optimised()) EXPECT_FALSE(name.starts_with("task_head")) << name;
}

TEST_F(FineTuner, BothLearn) {
  fine_tune(recipe("head", "head"));
  FineTuneRecipe second = recipe("both");
  second.fine_tune.checkpoint = folder_.file("head/checkpoint_last.safetensors");
  fine_tune(second);
  EXPECT_FALSE(same_head(last(), last("head")));
  EXPECT_FALSE(same_weights(last(), last("head")));
  EXPECT_GT(optimised().size(), 2u);
}

// The head that training starts from is the one that distillation fits to true caches.
TEST_F(FineTuner, StartsFromTheHeadOfTheTrueCaches) {
  fine_tune(recipe("projector"));
  nlohmann::json fits[2];
  const char* const runs[] = {"v1", "run"};
  for (int i = 0; i < 2; ++i) {
    for (const nlohmann::json& event : read_metrics(folder_.file(runs[i]))) {
      if (event["event"] == "task_head") fits[i] = event;
    }
  }
  EXPECT_FALSE(fits[0].is_null());
  EXPECT_EQ(fits[0], fits[1]);
}

TEST_F(FineTuner, KeepsTheStartWhereNoStepIsBetter) {
  FineTuneRecipe diverging = recipe("head");
  diverging.recipe.train.learning_rate = 1e3;
  const DistillResult result = fine_tune(diverging);
  EXPECT_EQ(result.best_step, 0);
  const auto metrics = nlohmann::json::parse(load_checkpoint(result.checkpoint).metrics);
  EXPECT_EQ(metrics["step"], 0);
  EXPECT_EQ(metrics["validation"]["loss"], result.best_loss);
}

TEST_F(FineTuner, StopsOnRequestAndResumesToTheSameBytes) {
  for (const std::string train : {"head", "both"}) {
    const std::string whole = "whole_" + train, parts = "parts_" + train;
    fine_tune(recipe(train, whole));
    int64_t steps_left = 9;  // in the middle of the second epoch
    EXPECT_TRUE(
        fine_tune(recipe(train, parts), {.stop_requested = [&] { return --steps_left == 0; }})
            .interrupted);
    EXPECT_EQ(fine_tune(recipe(train, parts), {.resume = true}).steps, 30);
    EXPECT_EQ(read_metrics(folder_.file(whole)), read_metrics(folder_.file(parts)));
    EXPECT_TRUE(same_weights(last(whole), last(parts)));
    EXPECT_TRUE(same_head(last(whole), last(parts)));
  }
}

TEST_F(FineTuner, WillNotResumeAsAnotherKindOfRun) {
  fine_tune(recipe("head"));
  EXPECT_THROWS_WITH(fine_tune(recipe("both"), {.resume = true}), "train: head\" became");
}

TEST_F(FineTuner, SaysWhatItWasToldInItsCheckpoint) {
  fine_tune(recipe("head"));
  EXPECT_THAT(last().recipe, ::testing::HasSubstr("  train: head\n"));
  FineTuneRecipe again;
  read_options(again, "",
               {"run_folder=x", "fine_tune.train=both", "loss.task_head.weight_decay=3"});
  EXPECT_EQ(again.fine_tune.train, "both");
  EXPECT_EQ(again.recipe.loss.task_head.weight_decay, 3);
}

TEST_F(FineTuner, MissesLabels) {
  FineTuneRecipe unlabelled = recipe("head");
  unlabelled.recipe.dataset.folder = folder_.file("unlabelled");
  make_tiny_dataset(unlabelled.recipe.dataset.folder, /*num_classes=*/0);
  EXPECT_THROWS_WITH(fine_tune(unlabelled), "has no labels to learn");
}

TEST_F(FineTuner, RefusesAnotherSplitAndWarnsOfAnotherDataset) {
  FineTuneRecipe resplit = recipe("head");
  resplit.recipe.split.seed = 2;
  EXPECT_THROWS_WITH(fine_tune(resplit), "was trained on another split of this dataset");

  struct Recorder : TrainObserver {
    void on_warning(const std::string& text) override { warnings.push_back(text); }
    std::vector<std::string> warnings;
  } recorder;
  FineTuneRecipe elsewhere = recipe("head", "elsewhere");
  elsewhere.recipe.dataset.folder = folder_.file("others");
  make_tiny_dataset(elsewhere.recipe.dataset.folder, /*num_classes=*/3);
  fine_tune(elsewhere, {.observer = &recorder});
  EXPECT_THAT(recorder.warnings,
              ::testing::ElementsAre(::testing::HasSubstr("was trained on another dataset")));
}

TEST_F(FineTuner, RefusesAProjectorOfOtherModels) {
  FineTuneRecipe wider = recipe("head");
  wider.recipe.dataset.folder = folder_.file("wider");
  GeneratorOptions options;
  options.sender.head_dim = 20;
  options.receiver.head_dim = 24;
  options.num_sequences = 30;
  generate_paired_dataset(options, wider.recipe.dataset.folder);
  EXPECT_THROWS_WITH(fine_tune(wider), "expected a projector for the sender of the dataset");
}

TEST_F(FineTuner, RefusesLabelsThatTheHeadDoesNotHave) {
  fine_tune(recipe("head", "two"));
  FineTuneRecipe three = recipe("head");
  three.fine_tune.checkpoint = folder_.file("two/checkpoint.safetensors");
  three.recipe.dataset.folder = folder_.file("others");
  make_tiny_dataset(three.recipe.dataset.folder, /*num_classes=*/3);
  EXPECT_THROWS_WITH(fine_tune(three), "expected labels from 0 to 1, the head's classes, got 2");
}

}  // namespace
}  // namespace kvalign
