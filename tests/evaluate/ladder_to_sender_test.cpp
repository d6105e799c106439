// Rows in which the sender continues from the receiver's cache, against passes of the sender alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kvalign/dataset/token_file.h"
#include "kvalign/evaluate/ladder.h"
#include "kvalign/projector/kv_projector.h"
#include "kvalign/train/checkpoint.h"
#include "tiny_ladder.h"

namespace kvalign::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// The last rows of a ladder.
std::vector<std::string> last_names(const LadderReport& report, size_t count) {
  std::vector<std::string> names = names_of(report);
  return {names.end() - static_cast<std::ptrdiff_t>(count), names.end()};
}

bool has_difference(const LadderReport& report, const std::string& row,
                    const std::string& against) {
  return std::any_of(
      report.differences.begin(), report.differences.end(),
      [&](const LadderDifference& found) { return found.row == row && found.against == against; });
}

std::string best_floor_of_sender(const LadderReport& report) {
  std::string best = "sender, no cache";
  for (const char* name : {"wrong document to sender + sinks", "wrong document to sender"}) {
    if (row_of(report, name).all.nll < row_of(report, best).all.nll) best = name;
  }
  return best;
}

// One model on both sides and identities between: what the sender gets back is its own cache.
TEST(LadderToSender, IdentityGivesTheSenderItsOwnCache) {
  TinyLadder tiny("llama", "llama");
  tiny.evaluate.baselines = {};
  tiny.evaluate.checkpoints = {"both=" + tiny.save_bidirectional_checkpoint(/*identity=*/true)};
  const LadderReport report = tiny.open().climb();
  EXPECT_THAT(last_names(report, 6),
              ElementsAre("sender alone", "both to sender + sinks", "both to sender",
                          "wrong document to sender + sinks", "wrong document to sender",
                          "sender, no cache"));
  const std::string floor = best_floor_of_sender(report);
  const double truth = row_of(report, "sender alone").all.nll;
  for (const char* name : {"both to sender + sinks", "both to sender"}) {
    const LadderRow& row = row_of(report, name);
    EXPECT_NEAR(row.all.nll, truth, 1e-5) << name;
    EXPECT_NEAR(row.retention, 1, 1e-3) << name;
    EXPECT_GT(row.milliseconds.project, 0) << name;
    EXPECT_GT(row.milliseconds.continuation, 0) << name;
    EXPECT_TRUE(has_difference(report, name, "sender alone"));
    EXPECT_TRUE(has_difference(report, name, floor));
    EXPECT_FALSE(has_difference(report, name, report.floor));
  }
  EXPECT_EQ(row_of(report, "both to sender").milliseconds.prefill, 0);
  EXPECT_GT(row_of(report, "both to sender + sinks").milliseconds.prefill, 0);
  EXPECT_NEAR(row_of(report, floor).retention, 0, 1e-12);
  EXPECT_EQ(report.gate.row, "both + sinks");
}

TEST(LadderToSender, RowsAreWhatTheSenderSays) {
  TinyLadder tiny("llama", "qwen3");
  tiny.evaluate.baselines = {};
  const std::string checkpoint = tiny.save_bidirectional_checkpoint(/*identity=*/false);
  tiny.evaluate.checkpoints = {"linear=" + checkpoint};
  tiny.options.grid = "short";
  const LadderReport report = tiny.open().climb();
  const auto projector = load_checkpoint(checkpoint).projector;
  const Decoder sender = Decoder::load(tiny.options.sender);
  const Decoder receiver = Decoder::load(tiny.options.receiver);
  const TokenFile tokens = read_token_file(tiny.options.tokens);
  const at::NoGradGuard no_gradients;
  double whole = 0, with_sinks = 0, wrong = 0, none = 0;
  for (int64_t sequence = 2; sequence < 10; ++sequence) {
    const at::Tensor ids = tokens.receiver.sequence(sequence).token_ids.to(at::kLong).unsqueeze(0);
    const auto cache_of = [&](const Decoder& decoder, int64_t count) {
      return *decoder.forward({.token_ids_BT = ids.narrow(1, 0, count), .num_logits = 0}).cache;
    };
    // The last of 14 tokens of the prefix and 9 of the continuation predict 10.
    const auto nll_after = [&](const std::optional<KvCache>& cache) {
      const at::Tensor logits =
          sender.forward({.token_ids_BT = ids.narrow(1, 13, 10), .cache = cache, .num_logits = 10})
              .logits_BTV[0];
      return at::cross_entropy_loss(logits, ids[0].narrow(0, 14, 10)).item<double>() / 8;
    };
    // Documents are pairs of sequences; the nearest other one is before, but for the first.
    const int64_t other = sequence < 4 ? 4 : sequence - sequence % 2 - 1;
    const at::Tensor other_ids = tokens.receiver.sequence(other).token_ids.to(at::kLong);
    wrong += nll_after(projector->compress(
        *receiver
             .forward({.token_ids_BT = other_ids.narrow(0, 0, 13).unsqueeze(0), .num_logits = 0})
             .cache));
    const KvCache own = cache_of(receiver, 13);
    whole += nll_after(projector->compress(own));
    const KvCache rest = projector->compress(own.slice(2, 11));
    with_sinks += nll_after(KvCache::from_streams(
        sender.geometry(), at::cat({cache_of(sender, 2).streams(), rest.streams()}, 1)));
    none += nll_after(std::nullopt);
  }
  EXPECT_NEAR(row_of(report, "linear to sender").all.nll, whole, 1e-4);
  EXPECT_NEAR(row_of(report, "linear to sender + sinks").all.nll, with_sinks, 1e-4);
  EXPECT_NEAR(row_of(report, "wrong document to sender").all.nll, wrong, 1e-4);
  EXPECT_NEAR(row_of(report, "sender, no cache").all.nll, none, 1e-4);
  // 13 tokens of 2 x 2 streams of the sender's geometry in float32, and one token of text.
  const KvGeometry& geometry = sender.geometry();
  EXPECT_GT(row_of(report, "linear to sender").bytes_per_token * 14,
            13 * 2 * geometry.num_layers * geometry.width() * 4);
}

TEST(LadderToSender, CostsWhatBothDevicesDo) {
  TinyLadder tiny("llama", "qwen3");
  tiny.evaluate.baselines = {};
  tiny.evaluate.checkpoints = {"both=" + tiny.save_bidirectional_checkpoint(/*identity=*/false)};
  tiny.options.grid = "short";
  const Ladder ladder = tiny.open();
  const LadderReport report = ladder.climb();
  CostOptions options;
  options.sender_target = KVALIGN_SOURCE_DIR "/configs/targets/jetson-nano.yaml";
  options.receiver_target = KVALIGN_SOURCE_DIR "/configs/targets/a100-80gb.yaml";
  const CostReport cost = ladder.estimate_cost(options, report);
  const auto found = std::find_if(
      cost.rows.begin(), cost.rows.end(),
      [](const TransferEstimate& row) { return row.name == "both to sender + sinks"; });
  ASSERT_NE(found, cost.rows.end());
  // 11 of 14 tokens without 2 sinks and the last; each of the sender's streams reads one of the
  // receiver's, of its width, and gets a weight.
  const KvGeometry sender = Decoder::load(tiny.options.sender).geometry();
  const KvGeometry receiver = Decoder::load(tiny.options.receiver).geometry();
  EXPECT_EQ(found->flops_receiver,
            2.0 * 11 * 2 * sender.num_layers * (sender.width() + 1) * receiver.width());
  EXPECT_EQ(found->steps.size(), 3);
  EXPECT_GT(found->flops_sender, 0);
  EXPECT_NEAR(found->bytes_sent, row_of(report, "both to sender + sinks").bytes_per_token * 14,
              1e-9);
}

TEST(LadderToSender, NeedsOneTokenizer) {
  TinyLadder tiny("llama", "qwen3", /*one_tokenizer=*/false);
  tiny.evaluate.baselines = {};
  tiny.evaluate.checkpoints = {"both=" + tiny.save_bidirectional_checkpoint(/*identity=*/false)};
  const LadderReport report = tiny.open().climb();
  EXPECT_EQ(names_of(report).back(), "sender alone");
  EXPECT_THAT(report.warnings.front(), HasSubstr("both has no row to the sender"));
}

}  // namespace
}  // namespace kvalign::testing
