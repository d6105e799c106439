// Runs with fit.kind ridge: what they write, what they read again, and what they refuse.
#include <ATen/ATen.h>

#include <filesystem>

#include "kvalign/core/files.h"
#include "kvalign/core/temporary_folder.h"
#include "kvalign/projector/kv_projector.h"
#include "kvalign/projector/ridge.h"
#include "kvalign/train/checkpoint.h"
#include "kvalign/train/distiller.h"
#include "tests/support/throws.h"
#include "tests/train/tiny_run.h"

namespace kvalign::testing {
namespace {

class ClosedForm : public ::testing::Test {
 protected:
  ClosedForm() { make_tiny_dataset(folder_.file("data")); }

  Recipe recipe(const std::string& run, const std::string& kind = "linear_residual") const {
    Recipe recipe = tiny_recipe(folder_.file("data"), folder_.file(run));
    recipe.projector.kind = kind;
    recipe.projector.norm = "none";
    recipe.projector.rank = 6;
    recipe.projector.latent_wire = "float32";
    recipe.fit.kind = "ridge";
    recipe.fit.statistics = folder_.file("sums");
    return recipe;
  }

  at::Tensor weight(const std::string& run, const std::string& name) const {
    const Checkpoint checkpoint = load_checkpoint(folder_.file(run + "/checkpoint.safetensors"));
    return checkpoint.projector->projector().named_parameters()[name].detach();
  }

  // Mean squared error on the validation split.
  double error(const std::string& run) const {
    const Checkpoint checkpoint = load_checkpoint(folder_.file(run + "/checkpoint.safetensors"));
    const auto dataset = PairedDataset::open(folder_.file("data"));
    const PairedBatch batch = dataset->read(split_by_sequence(*dataset, SplitOptions()).validation);
    const at::NoGradGuard no_gradients;
    return (checkpoint.projector->project(batch.sender_STd) - batch.receiver_RTD)
        .square()
        .mean()
        .item<double>();
  }

  TemporaryFolder folder_;
};

TEST_F(ClosedForm, IsAtLeastAsGoodAsDescentOnItsOwnGround) {
  Recipe descent = recipe("descent");
  descent.fit = {};
  descent.train.epochs = 40;
  descent.loss = {.mse = 1, .cosine = 0, .task = 0};
  distill(descent);
  const DistillResult result = distill(recipe("ridge"));
  EXPECT_EQ(result.checkpoint, folder_.file("ridge/checkpoint.safetensors"));
  EXPECT_GT(result.best_loss, 0);
  EXPECT_LT(result.best_loss, 1);
  EXPECT_LT(error("ridge"), 1.02 * error("descent"));
  distill(recipe("full", "low_rank"));
  EXPECT_LT(error("ridge"), error("full"));
  const std::vector<nlohmann::json> events = read_metrics(folder_.file("ridge"));
  ASSERT_EQ(events.size(), 1);
  EXPECT_EQ(events[0]["event"], "closed_form");
  EXPECT_EQ(events[0]["lambda"].size(), 1);
}

TEST_F(ClosedForm, SumsAreReadAgainAndMerged) {
  distill(recipe("first"));
  const std::string sums = folder_.file("sums/training.safetensors");
  const std::string bytes = read_file(sums);
  for (const char* shard :
       {"pairs-00001-of-00003.safetensors", "pairs-00002-of-00003.safetensors"}) {
    // Values that would change every sum; only the headers are read again.
    const std::string path = folder_.file(std::string("data/") + shard);
    std::string data = read_file(path);
    std::fill(data.end() - 64, data.end(), '\0');
    std::ofstream(path, std::ios::binary) << data;
  }
  Recipe again = recipe("again");
  again.fit.merge = {sums};  // every token twice: the same means
  distill(again);
  EXPECT_EQ(read_file(sums), bytes);
  EXPECT_TRUE(
      at::allclose(weight("again", "linear.weight"), weight("first", "linear.weight"), 1e-5, 1e-7));
}

TEST_F(ClosedForm, SumsOfOtherDataAreRefused) {
  distill(recipe("first"));
  Recipe other = recipe("other");
  other.split.seed = 2;
  EXPECT_THROWS_WITH(distill(other), "expected sums of");
  EXPECT_FALSE(std::filesystem::exists(folder_.file("other/checkpoint.safetensors")));
  Recipe held_out = recipe("held_out");
  held_out.fit.merge = {folder_.file("sums/validation.safetensors")};
  EXPECT_THROWS_WITH(distill(held_out), R"(expected sums with part "training", got "validation")");
}

TEST_F(ClosedForm, GivenLambdaIsTaken) {
  Recipe weak = recipe("weak"), strong = recipe("strong");
  weak.fit.lambda = 1e-6;
  strong.fit.lambda = 1e3;
  distill(weak);
  distill(strong);
  EXPECT_LT(weight("strong", "linear.weight").norm().item<double>(),
            0.01 * weight("weak", "linear.weight").norm().item<double>());
  Recipe none = recipe("none");
  none.split.validation = 0;
  none.fit.statistics = folder_.file("none/sums");
  EXPECT_THROWS_WITH(distill(none), "lambda 0 and top_k choose by the validation split");
}

TEST_F(ClosedForm, DescentStartsFromIt) {
  distill(recipe("ridge"));
  Recipe start = recipe("start");
  start.fit.kind = "ridge_then_adamw";
  start.train.epochs = 1;
  start.train.learning_rate = 1e-12;
  start.loss = {.mse = 1, .cosine = 0, .task = 0};
  distill(start);  // no step to speak of: the standardised weights are the same function
  EXPECT_TRUE(
      at::allclose(weight("start", "linear.weight"), weight("ridge", "linear.weight"), 1e-4, 1e-6));
  EXPECT_TRUE(
      at::allclose(weight("start", "linear.bias"), weight("ridge", "linear.bias"), 1e-4, 1e-5));
  Recipe latents = recipe("latents", "low_rank"), descent = recipe("descent", "low_rank");
  distill(latents);
  descent.fit.kind = "ridge_then_adamw";
  descent.loss = start.loss;
  descent.train.learning_rate = 1e-3;
  distill(descent);
  EXPECT_LT(error("descent"), 1.01 * error("latents"));
}

TEST_F(ClosedForm, DescentStartsFromACheckpoint) {
  distill(recipe("latents", "low_rank"));
  const auto further = [&](const std::string& run) {
    Recipe further = recipe(run, "low_rank");
    further.fit = {.start = folder_.file("latents/checkpoint.safetensors")};
    further.train.epochs = 1;
    further.train.learning_rate = 1e-12;
    further.loss = {.mse = 1, .cosine = 0, .task = 0};
    return further;
  };
  distill(further("further"));
  EXPECT_TRUE(at::allclose(weight("further", "decoder.weight"), weight("latents", "decoder.weight"),
                           1e-4, 1e-6));
  Recipe other = further("other");
  other.projector.rank = 4;
  EXPECT_THROWS_WITH(distill(other),
                     "expected a projector with encoder.weight of shape [1, 4, 16]");
  other = further("kind");
  other.projector.kind = "linear_residual";
  EXPECT_THROWS_WITH(distill(other), "with kind linear_residual, got low_rank");
  other = further("twice");
  other.fit.kind = "ridge";
  EXPECT_THROWS_WITH(distill(other), "expected fit.kind adamw");
}

TEST_F(ClosedForm, AnMlpOnTopLeavesTheLinearMapAsItWas) {
  distill(recipe("ridge"));
  Recipe on_top = recipe("on_top", "residual_mlp");
  on_top.projector.hidden_size = 16;
  on_top.fit = {.start = folder_.file("ridge/checkpoint.safetensors")};
  on_top.loss = {.mse = 1, .cosine = 0, .task = 0};
  on_top.train.epochs = 10;
  on_top.train.learning_rate = 3e-3;
  distill(on_top);
  EXPECT_LT(error("on_top"), error("ridge"));
  EXPECT_TRUE(at::allclose(weight("on_top", "linear.weight"), weight("ridge", "linear.weight"),
                           1e-4, 1e-6));
  on_top = recipe("fitted", "residual_mlp");
  on_top.projector.hidden_size = 16;
  on_top.fit.kind = "ridge_then_adamw";
  on_top.loss = {.mse = 1, .cosine = 0, .task = 0};
  on_top.train.epochs = 1;
  distill(on_top);
  EXPECT_TRUE(at::allclose(weight("fitted", "linear.weight"), weight("ridge", "linear.weight"),
                           1e-4, 1e-6));
  on_top.fit = {};
  EXPECT_THROWS_WITH(distill(on_top), "expected fit.kind ridge_then_adamw, or fit.start");
}

TEST_F(ClosedForm, ChosenLayersAreWrittenDown) {
  GeneratorOptions layered;
  layered.layout = "layers";
  layered.sender = {.num_layers = 3, .num_kv_heads = 1, .head_dim = 4};
  layered.receiver = {.num_layers = 2, .num_kv_heads = 1, .head_dim = 6};
  layered.num_sequences = 30;
  layered.tokens_per_sequence = 12;
  layered.dtype = "float32";
  generate_paired_dataset(layered, folder_.file("layered"));
  Recipe chosen = recipe("chosen");
  chosen.dataset.folder = folder_.file("layered");
  chosen.loss.task = 0;
  chosen.projector.layer_map = {.kind = "top_k", .layers = {}, .features = "both"};
  chosen.fit.top_k = 2;
  distill(chosen);
  const auto projector = load_checkpoint(folder_.file("chosen/checkpoint.safetensors")).projector;
  const LayerMapOptions& map = projector->options().layer_map;
  EXPECT_EQ(map.layers.size(), 4);
  // The same list given by hand is the same fit, from sums of its own.
  Recipe given = recipe("given");
  given.dataset.folder = folder_.file("layered");
  given.loss.task = 0;
  given.projector.layer_map = map;
  given.fit.statistics = folder_.file("given_sums");
  distill(given);
  EXPECT_TRUE(at::allclose(weight("given", "linear.weight"), weight("chosen", "linear.weight"),
                           1e-4, 1e-6));
  chosen.run_folder = folder_.file("wrong");
  chosen.projector.layer_map = map;
  EXPECT_THROWS_WITH(distill(chosen), "layer_map.kind top_k without layers");
  chosen.projector.layer_map.layers = {};
  chosen.split.validation = 0;
  EXPECT_THROWS_WITH(distill(chosen), "top_k choose by the validation split");
}

TEST_F(ClosedForm, ARunIsNotOverwritten) {
  distill(recipe("first"));
  EXPECT_THROWS_WITH(distill(recipe("first")), "holds a run already");
}

TEST_F(ClosedForm, StopsBetweenBatchesWithoutLeavingSums) {
  int64_t asked = 0;
  const DistillResult result =
      distill(recipe("stopped"), {.stop_requested = [&] { return ++asked == 2; }});
  EXPECT_TRUE(result.interrupted);
  EXPECT_FALSE(std::filesystem::exists(folder_.file("sums/training.safetensors")));
  EXPECT_FALSE(distill(recipe("stopped")).interrupted);
}

TEST_F(ClosedForm, WhatHasNoClosedFormIsRefused) {
  EXPECT_THROWS_WITH(distill(recipe("mlp", "mlp")), "low_rank with norm none, got mlp");
  Recipe norm = recipe("norm");
  norm.projector.norm = "layer";
  EXPECT_THROWS_WITH(distill(norm), "got linear_residual with norm layer");
  Recipe metric = recipe("metric", "low_rank");
  metric.fit.metric = "attention";
  EXPECT_THROWS_WITH(distill(metric), "expected fit.receiver");
}

}  // namespace
}  // namespace kvalign::testing
