// Transfers and break-evens against sums by hand: a device of 1 operation and 1 byte a second makes
// seconds of counts.
#include "kvalign/evaluate/transfer.h"

#include <gtest/gtest.h>

#include "kvalign/evaluate/break_even.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

DecoderConfig model(int64_t num_layers, int64_t head_dim) {
  DecoderConfig config;
  config.vocab_size = 10;
  config.hidden_size = 4;
  config.intermediate_size = 6;
  config.num_attention_heads = 2;
  config.geometry.num_layers = num_layers;
  config.geometry.num_kv_heads = 1;
  config.geometry.head_dim = head_dim;
  return config;
}

Target target(const std::string& name, double flops_per_second, double bytes_per_second) {
  Target target;
  target.name = name;
  target.peak_flops_per_second.float32 = flops_per_second;
  target.memory.bytes_per_second = bytes_per_second;
  target.power_limit.watts = 10;
  return target;
}

class TransferTest : public ::testing::Test {
 protected:
  ModelPair pair_{model(2, 2), model(3, 2)};
  // Bytes cost next to nothing on the sender, operations next to nothing on the receiver.
  CostSetting setting_{.sender = target("edge", 1, 1e12),
                       .receiver = target("cloud", 1e12, 1),
                       .link_bits_per_second = 16,
                       .link_latency_seconds = 0.5,
                       .warm = true,
                       .dtype = "float32"};
  Prompt prompt_{.tokens = 8, .sinks = 2, .reread = 1, .text_bytes_per_token = 4};
  // 2 layers x keys and values x 2 elements to 3 layers likewise.
  ProjectorSize linear_{.num_features = 8, .num_streams = 6, .width = 2, .sender_width = 8};
};

TEST_F(TransferTest, TextIsReadByTheReceiver) {
  const Transfer text = text_transfer(pair_, prompt_, setting_);
  EXPECT_TRUE(text.sender_steps.empty());
  EXPECT_EQ(text.bytes, 32);
  const TransferEstimate result = estimate(text, setting_);
  EXPECT_EQ(result.bytes_sent, 32);
  EXPECT_DOUBLE_EQ(result.seconds_link, 0.5 + 8 * 32 / 16.0);
  EXPECT_EQ(result.seconds_sender, 0);
  // A layer: 4 x 8 + 4 x 4 + 3 x 4 x 6 weights and 8 of norms; head 4 x 10, norm 4. The cache that
  // is written: 3 x 2 x 2 x 8; 8 embeddings of 4; 10 scores. Four bytes each.
  EXPECT_DOUBLE_EQ(result.seconds_receiver, 4.0 * (3 * 128 + 44 + 96 + 32 + 10));
  EXPECT_DOUBLE_EQ(result.seconds_total(), result.seconds_link + result.seconds_receiver);
  EXPECT_DOUBLE_EQ(result.power_limit_times_seconds, 10 * result.seconds_receiver);
}

TEST_F(TransferTest, TextThatIsThereNeedsNoLink) {
  Transfer text = text_transfer(pair_, prompt_, setting_);
  text.uses_link = false;
  const TransferEstimate result = estimate(text, setting_);
  EXPECT_EQ(result.bytes_sent, 0);
  EXPECT_EQ(result.seconds_link, 0);
}

TEST_F(TransferTest, ACacheInFp8) {
  const CacheWire wire{.fp8 = true, .bytes_per_token = 12, .bytes_once = 5};
  const Transfer cache = cache_transfer(pair_, prompt_, setting_, linear_, wire);
  // 8 - 1 last - 1 re-read - 2 sinks = 4 tokens are projected; 4 travel as text.
  EXPECT_EQ(cache.bytes, 4 * 12 + 5 + 4 * 4);
  ASSERT_EQ(cache.sender_steps.size(), 1);
  EXPECT_EQ(cache.sender_steps[0].step, "FP8 encoding");
  EXPECT_EQ(cache.sender_steps[0].bytes(), 4 * 8 * 4 + 53);
  ASSERT_EQ(cache.receiver_steps.size(), 4);
  EXPECT_EQ(cache.receiver_steps[0].step, "FP8 decoding");
  EXPECT_EQ(cache.receiver_steps[1].step, "projection");
  EXPECT_EQ(cache.receiver_steps[1].flops, 2 * 4 * 8 * 12);
  EXPECT_EQ(cache.receiver_steps[2].step, "prefill of the sinks");
  EXPECT_EQ(cache.receiver_steps[3].step, "reading of 2 tokens");
  // After 6 cached tokens: 2 x 3 layers x 2 elements of 6 read and 2 written, 2 embeddings, 10
  // scores.
  EXPECT_EQ(cache.receiver_steps[3].activation_bytes, 4 * (12 * 8 + 8 + 10));
}

TEST_F(TransferTest, AColdSenderReadsThePromptFirst) {
  setting_.warm = false;
  prompt_.sender_tokens_per_token = 1.2;  // 9.6 tokens, that is 10
  const CacheWire wire{.bytes_per_token = 10};
  const Transfer cache = cache_transfer(pair_, prompt_, setting_, linear_, wire);
  ASSERT_EQ(cache.sender_steps.size(), 1);
  EXPECT_EQ(cache.sender_steps[0].step, "prefill of 10 tokens");
  const TransferEstimate result = estimate(cache, setting_);
  // 2 x 10 tokens x 2 layers x 120 weights, and 2 layers x 55 pairs x 2 products of 4, twice each.
  EXPECT_DOUBLE_EQ(result.flops_sender, 2 * 10 * 2 * 120 + 2 * 2 * 55 * 2 * 4);
  EXPECT_DOUBLE_EQ(result.seconds_sender, result.flops_sender);
  EXPECT_DOUBLE_EQ(cache.bytes, 4 * 1.2 * 10 + 16);
  EXPECT_TRUE(text_transfer(pair_, prompt_, setting_).sender_steps.empty());
}

TEST_F(TransferTest, LatentsAreEncodedOnTheSender) {
  linear_.kind = "low_rank";
  linear_.rank = 3;
  prompt_.sinks = 0;
  prompt_.reread = 0;
  const Transfer latents =
      cache_transfer(pair_, prompt_, setting_, linear_, {.bytes_per_token = 3});
  ASSERT_EQ(latents.sender_steps.size(), 1);
  EXPECT_EQ(latents.sender_steps[0].flops, 2 * 7 * 8 * 3);
  ASSERT_EQ(latents.receiver_steps.size(), 2);
  EXPECT_EQ(latents.receiver_steps[0].flops, 2 * 7 * 3 * 12);
  EXPECT_EQ(latents.receiver_steps[1].step, "reading of 1 token");
  EXPECT_EQ(latents.bytes, 7 * 3 + 4);
}

TEST_F(TransferTest, NothingToProjectIsRefused) {
  prompt_.tokens = 4;
  EXPECT_THROWS_WITH(cache_transfer(pair_, prompt_, setting_, linear_, {}),
                     "got 4 with 2 sinks and 1 re-read");
  prompt_.tokens = 0;
  EXPECT_THROWS_WITH(text_transfer(pair_, prompt_, setting_), "expected at least one token");
}

TEST_F(TransferTest, TargetsAreRequired) {
  CostOptions options;
  options.sender_target = "a.yaml";
  EXPECT_THROWS_WITH(read_cost_setting(options),
                     "expected the files of two targets, got sender_target 'a.yaml' and "
                     "receiver_target ''");
}

TransferEstimate taking(double sender, double receiver, double bytes) {
  return {.bytes_sent = bytes, .seconds_sender = sender, .seconds_receiver = receiver};
}

TEST(BreakEven, BandwidthAtWhichBothTakeAsLong) {
  // 800 more bits, 4 s less: 200 bit/s.
  const BreakEven above = break_even_bandwidth(taking(1, 2, 120), taking(0, 7, 20));
  EXPECT_EQ(above.when, FasterWhen::kAbove);
  EXPECT_DOUBLE_EQ(above.value, 200);
  const BreakEven below = break_even_bandwidth(taking(0, 7, 20), taking(1, 2, 120));
  EXPECT_EQ(below.when, FasterWhen::kBelow);
  EXPECT_DOUBLE_EQ(below.value, 200);
  EXPECT_EQ(break_even_bandwidth(taking(0, 7, 120), taking(0, 7, 20)).when, FasterWhen::kNever);
  EXPECT_EQ(break_even_bandwidth(taking(0, 9, 20), taking(0, 7, 20)).when, FasterWhen::kNever);
  EXPECT_EQ(break_even_bandwidth(taking(0, 7, 20), taking(0, 7, 20)).when, FasterWhen::kNever);
  EXPECT_EQ(break_even_bandwidth(taking(0, 7, 10), taking(0, 7, 20)).when, FasterWhen::kAlways);
  EXPECT_EQ(break_even_bandwidth(taking(0, 6, 20), taking(0, 7, 20)).when, FasterWhen::kAlways);
}

TEST(BreakEven, TokensAtWhichTheFasterChanges) {
  for (const int64_t border : {3, 4, 5, 100, 127, 128, 129, 1000}) {
    const BreakEven above =
        break_even_tokens(2, 1000, [&](int64_t tokens) { return tokens >= border; });
    EXPECT_EQ(above.when, FasterWhen::kAbove);
    EXPECT_EQ(above.value, static_cast<double>(border));
    const BreakEven below =
        break_even_tokens(2, 1000, [&](int64_t tokens) { return tokens < border; });
    EXPECT_EQ(below.when, FasterWhen::kBelow);
    EXPECT_EQ(below.value, static_cast<double>(border));
  }
  EXPECT_EQ(break_even_tokens(2, 1000, [](int64_t) { return true; }).when, FasterWhen::kAlways);
  EXPECT_EQ(break_even_tokens(2, 1000, [](int64_t) { return false; }).when, FasterWhen::kNever);
  EXPECT_THROWS_WITH(break_even_tokens(0, 1000, [](int64_t) { return true; }),
                     "expected a shortest prompt of at least 1, got 0");
  EXPECT_EQ(name_of(FasterWhen::kAlways), "always");
  EXPECT_EQ(name_of(FasterWhen::kNever), "never");
  EXPECT_EQ(name_of(FasterWhen::kAbove), "above");
  EXPECT_EQ(name_of(FasterWhen::kBelow), "below");
}

}  // namespace
}  // namespace kvalign
