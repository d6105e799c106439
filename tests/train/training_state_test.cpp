// The state of a run survives its file, and other files are refused.
#include "kvalign/train/training_state.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "kvalign/core/temporary_folder.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

TEST(TrainingState, IsReadBackBitForBit) {
  TemporaryFolder folder;
  const TrainingState state{.progress = {.step = 7,
                                         .epoch = 1,
                                         .next_batch = 2,
                                         .tokens = 336,
                                         .best_loss = 0.1 + 0.2,
                                         .best_step = 6,
                                         .validations_without_improvement = 3,
                                         .stopped_early = true,
                                         .finished = true},
                            .metrics_bytes = 100,
                            .events_bytes = 200,
                            .recipe = "seed: 1\nname: \"two\\nlines\"\n",
                            .dataset_sha256 = "abc",
                            .tensors = {{"module.weight", at::arange(6).view({2, 3}) / 7.0},
                                        {"skipped_steps", at::zeros({3}, at::kDouble)}}};
  save_training_state(folder.file("state"), state);
  const TrainingState read = load_training_state(folder.file("state"));
  EXPECT_EQ(read.progress, state.progress);
  EXPECT_EQ(read.metrics_bytes, 100);
  EXPECT_EQ(read.events_bytes, 200);
  EXPECT_EQ(read.recipe, state.recipe);
  EXPECT_EQ(read.dataset_sha256, "abc");
  ASSERT_EQ(read.tensors.size(), 2u);
  EXPECT_EQ(read.tensors[0].name, "module.weight");
  EXPECT_TRUE(at::equal(read.tensors[0].tensor, state.tensors[0].tensor));
}

TEST(TrainingState, KeepsTheAbsenceOfABestLoss) {
  TemporaryFolder folder;
  save_training_state(folder.file("state"), {});
  EXPECT_EQ(load_training_state(folder.file("state")).progress, TrainingProgress{});
}

TEST(TrainingState, RefusesOtherFiles) {
  TemporaryFolder folder;
  write_safetensors(folder.file("none"), {{"weight", at::zeros({1})}});
  EXPECT_THROWS_WITH(load_training_state(folder.file("none")), "got no format");
  write_safetensors(folder.file("later"), {}, {{"format", "kvalign.training_state.9"}});
  EXPECT_THROWS_WITH(load_training_state(folder.file("later")), "got kvalign.training_state.9");
  write_safetensors(folder.file("damaged"), {},
                    {{"format", "kvalign.training_state.1"}, {"state", "{\"step\": true"}});
  EXPECT_THROWS_WITH(load_training_state(folder.file("damaged")),
                     "the metadata entry \"state\" is damaged");
}

}  // namespace
}  // namespace kvalign
