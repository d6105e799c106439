// Statistics of what arrives, against the same numbers by hand.
#include "kvalign/deploy/input_statistics.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "kvalign/core/safetensors.h"
#include "kvalign/core/sha256.h"
#include "kvalign/core/temporary_folder.h"
#include "kvalign/projector/kv_projector.h"
#include "kvalign/train/checkpoint.h"
#include "tests/support/flat_geometry.h"
#include "tests/support/throws.h"
#include "tests/train/tiny_run.h"

namespace kvalign {
namespace {

using testing::flat;

class InputStatisticsTest : public ::testing::Test {
 protected:
  InputStatisticsTest() { testing::make_tiny_dataset(recipe_.dataset.folder); }

  std::string save(const std::string& split_sha256) const {
    save_checkpoint(folder_.file("m.safetensors"), {.projector = std::make_shared<KvProjector>(
                                                        ProjectorOptions{}, flat(16), flat(24)),
                                                    .recipe = "{}",
                                                    .dataset_sha256 = dataset()->sha256(),
                                                    .split_sha256 = split_sha256});
    return folder_.file("m.safetensors");
  }
  std::shared_ptr<const PairedDataset> dataset() const { return open_dataset(recipe_.dataset); }

  TemporaryFolder folder_;
  Recipe recipe_ = testing::tiny_recipe(folder_.file("data"), folder_.file("run"));
};

TEST_F(InputStatisticsTest, AreThoseOfTheTrainingSequences) {
  const Split split = split_by_sequence(*dataset(), recipe_.split);
  const std::string path = save(split.sha256);
  const ServingReference reference = measure_serving_reference(path, recipe_);
  const InputStatistics& statistics = reference.statistics;
  EXPECT_EQ(statistics.checkpoint, sha256_of_file(path));
  const at::Tensor rows_TF = dataset()->read(split.train).sender_STd[0].to(at::kDouble);
  const at::Tensor scale = rows_TF.std(0, /*unbiased=*/false);
  EXPECT_TRUE(statistics.mean_F.to(at::kDouble).allclose(rows_TF.mean(0), 1e-5, 1e-6));
  EXPECT_TRUE(statistics.scale_F.to(at::kDouble).allclose(scale, 1e-5, 1e-6));
  const at::Tensor rms_T = ((rows_TF - rows_TF.mean(0)) / scale).square().mean(1).sqrt();
  EXPECT_NEAR(statistics.largest_token_rms, rms_T.max().item<double>(), 1e-5);

  std::vector<double> scores;
  std::vector<int64_t> held_out = split.validation;
  held_out.insert(held_out.end(), split.test.begin(), split.test.end());
  for (const int64_t sequence : held_out) {
    const at::Tensor rows = dataset()->read({sequence}).sender_STd[0].to(at::kDouble);
    scores.push_back(
        ((rows - rows_TF.mean(0)) / scale).square().mean(1).log().mean().item<double>());
  }
  std::sort(scores.begin(), scores.end());
  ASSERT_EQ(reference.drift_scores.size(), scores.size());
  for (size_t i = 0; i < scores.size(); ++i) {
    EXPECT_NEAR(reference.drift_scores[i], scores[i], 1e-5);
  }
  const nlohmann::json json = drift_reference_json(reference);
  EXPECT_EQ(json["schema"], 1);
  EXPECT_EQ(json["checkpoint"], statistics.checkpoint);
  EXPECT_EQ(json["scores"].size(), scores.size());
}

TEST_F(InputStatisticsTest, RefuseTheRecipeOfAnotherRun) {
  EXPECT_THROWS_WITH(measure_serving_reference(save(sha256_hex("other")), recipe_),
                     "expected the recipe of its own run");
}

TEST_F(InputStatisticsTest, ComeBackFromTheirFile) {
  const std::string path = folder_.file("s.safetensors");
  const InputStatistics saved{.mean_F = at::tensor({1.0f, -2.0f}),
                              .scale_F = at::tensor({0.1f, 3.0f}),
                              .largest_token_rms = 1.0 / 3,
                              .checkpoint = "abc"};
  save_input_statistics(path, saved);
  const InputStatistics loaded = load_input_statistics(path);
  EXPECT_TRUE(loaded.mean_F.equal(saved.mean_F));
  EXPECT_TRUE(loaded.scale_F.equal(saved.scale_F));
  EXPECT_EQ(loaded.largest_token_rms, saved.largest_token_rms);
  EXPECT_EQ(loaded.checkpoint, saved.checkpoint);
}

TEST_F(InputStatisticsTest, SayWhatIsWrongWithAFile) {
  const std::string path = folder_.file("s.safetensors");
  const auto write = [&](const at::Tensor& scale, const std::string& version,
                         const std::string& largest) {
    write_safetensors(path, {{"mean", at::zeros({2})}, {"scale", scale}},
                      {{"input_statistics_version", version},
                       {"checkpoint", "abc"},
                       {"largest_token_rms", largest}});
  };
  write(at::ones({2}), "2", "1");
  EXPECT_THROWS_WITH(load_input_statistics(path), "of version 1, got 2");
  write(at::ones({3}), "1", "1");
  EXPECT_THROWS_WITH(load_input_statistics(path), "as many scales as means");
  write(at::zeros({2}), "1", "1");
  EXPECT_THROWS_WITH(load_input_statistics(path), "all above 0");
  write(at::ones({2}), "1", "0");
  EXPECT_THROWS_WITH(load_input_statistics(path), "largest_token_rms above 0");
  write(at::ones({2}, at::kDouble), "1", "1");
  EXPECT_THROWS_WITH(load_input_statistics(path), "expected scale float32 [numbers]");
  write_safetensors(path, {{"mean", at::zeros({2})}});
  EXPECT_THROWS_WITH(load_input_statistics(path), "Is this a file of input statistics?");
}

}  // namespace
}  // namespace kvalign
