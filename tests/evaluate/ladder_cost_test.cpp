// Costs of a ladder's rows: which rows there are, and that bytes are those that the ladder counted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kvalign/evaluate/ladder.h"
#include "tests/support/throws.h"
#include "tiny_ladder.h"

namespace kvalign::testing {
namespace {

CostOptions between_jetson_and_a100() {
  const std::string targets = KVALIGN_SOURCE_DIR "/configs/targets/";
  CostOptions options;
  options.sender_target = targets + "jetson-nano.yaml";
  options.receiver_target = targets + "a100-40gb.yaml";
  return options;
}

TEST(LadderCost, RowsThatSendSomethingAndTheText) {
  TinyLadder tiny("llama", "qwen3");
  tiny.options.grid = "short";
  tiny.evaluate.baselines = {"mean"};
  tiny.evaluate.checkpoints = {
      "latent=" + tiny.save_low_rank_checkpoint(6),
      "cache=" + tiny.folder.file("checkpoint.safetensors") + "@float8_e4m3fn/token"};
  const Ladder ladder = tiny.open();
  const LadderReport report = ladder.climb();
  const CostReport cost = ladder.estimate_cost(between_jetson_and_a100(), report);
  EXPECT_EQ(cost.prompt_tokens, tiny.options.prefix_tokens);
  std::vector<std::string> names;
  for (const TransferEstimate& row : cost.rows) {
    names.push_back(row.name);
    const double counted =
        row_of(report, row.name).bytes_per_token * static_cast<double>(tiny.options.prefix_tokens);
    EXPECT_EQ(row.bytes_sent, counted) << row.name;
    EXPECT_GT(row.seconds_total(), 0.02) << row.name;  // the link's latency
  }
  EXPECT_THAT(names, ::testing::ElementsAre("text", "latent + sinks", "latent",
                                            "latent + sinks + last 3", "cache + sinks"));
  const auto steps = [&](size_t row) {
    std::vector<std::string> texts;
    for (const StepEstimate& step : cost.rows[row].steps) {
      texts.push_back(step.side + ": " + step.work.step);
    }
    return texts;
  };
  const std::string prompt = std::to_string(tiny.options.prefix_tokens);
  EXPECT_THAT(steps(0), ::testing::ElementsAre("receiver: prefill of " + prompt + " tokens"));
  EXPECT_THAT(steps(3), ::testing::ElementsAre("sender: encoder", "receiver: decoder",
                                               "receiver: prefill of the sinks",
                                               "receiver: reading of 4 tokens"));
  EXPECT_THAT(steps(4),
              ::testing::ElementsAre("sender: FP8 encoding", "receiver: FP8 decoding",
                                     "receiver: projection", "receiver: prefill of the sinks",
                                     "receiver: reading of 1 token"));
}

TEST(LadderCost, AColdSenderReadsItsOwnTokens) {
  TinyLadder tiny("llama", "qwen3", /*one_tokenizer=*/false);
  tiny.evaluate.baselines = {};
  const Ladder ladder = tiny.open();
  const LadderReport report = ladder.climb();
  CostOptions options = between_jetson_and_a100();
  options.sender = "cold";
  const CostReport cost = ladder.estimate_cost(options, report);
  EXPECT_TRUE(cost.rows[0].steps[0].side == "receiver");
  // The sender cuts the same text into more tokens: 31 where the receiver has 24.
  const std::string step = cost.rows[1].steps[0].work.step;
  EXPECT_THAT(step, ::testing::StartsWith("prefill of "));
  EXPECT_GT(std::stoll(step.substr(11)), tiny.options.prefix_tokens);
  options.receiver_target = "absent.yaml";
  EXPECT_THROWS_WITH(ladder.estimate_cost(options, report), "absent.yaml");
}

}  // namespace
}  // namespace kvalign::testing
