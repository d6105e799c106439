// The decoder against transformers' own results (tests/golden/make_decoders.py), and against
// itself: cached or not, in one pass or step by step, batched or alone.
//
// Shapes: B batch, T tokens, C cached tokens, N kv heads, H head dim, V vocabulary
#include "kvalign/model/decoder.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "kvalign/core/random.h"
#include "kvalign/core/safetensors.h"
#include "kvalign/ops/rope.h"
#include "tests/support/decoder_folder.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

constexpr double kTolerance = 1e-4;

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  EXPECT_EQ(a.sizes(), b.sizes());
  return (a - b).abs().max().item<double>();
}

class GoldenDecoder : public ::testing::TestWithParam<const char*> {
 protected:
  Decoder decoder_ = Decoder::load(golden_decoder(GetParam()));
  SafetensorsFile expected_ =
      SafetensorsFile::open(golden_decoder(GetParam()) + "/expected.safetensors");
  at::Tensor token_ids_BT_ = expected_.tensor("token_ids");

  KvCache prefix(int64_t num_tokens) const {
    return *decoder_.forward({.token_ids_BT = token_ids_BT_.narrow(1, 0, num_tokens)}).cache;
  }
};

INSTANTIATE_TEST_SUITE_P(Families, GoldenDecoder,
                         ::testing::Values("llama", "llama_bias", "mistral", "qwen2", "qwen3"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(GoldenDecoder, LogitsAreThoseOfTransformers) {
  const DecoderOutput output = decoder_.forward({.token_ids_BT = token_ids_BT_});
  EXPECT_LE(largest_difference(output.logits_BTV, expected_.tensor("logits")), kTolerance);
}

TEST_P(GoldenDecoder, CacheIsThatOfTransformersWithContentKeys) {
  const DecoderOutput output = decoder_.forward({.token_ids_BT = token_ids_BT_, .num_logits = 0});
  EXPECT_FALSE(output.logits_BTV.defined());
  const at::Tensor positions_T = at::arange(token_ids_BT_.size(1), at::kLong);
  for (int64_t layer = 0; layer < decoder_.geometry().num_layers; ++layer) {
    const std::string number = std::to_string(layer);
    const at::Tensor rotated =
        apply_rope(output.cache->keys(layer), positions_T, *decoder_.geometry().rope);
    EXPECT_LE(largest_difference(rotated, expected_.tensor("rotated.keys." + number)), kTolerance);
    EXPECT_LE(largest_difference(output.cache->values(layer), expected_.tensor("values." + number)),
              kTolerance);
  }
}

TEST_P(GoldenDecoder, LeftPaddingIsThatOfTransformers) {
  const at::Tensor mask_BT = expected_.tensor("mask").to(at::kBool);
  const DecoderOutput output = decoder_.forward({.token_ids_BT = token_ids_BT_,
                                                 .positions = expected_.tensor("positions"),
                                                 .mask_BS = mask_BT});
  const at::Tensor difference = (output.logits_BTV - expected_.tensor("padded_logits")).abs();
  EXPECT_LE(difference.index({mask_BT}).max().item<double>(), kTolerance);
  EXPECT_TRUE(at::isfinite(output.logits_BTV).all().item<bool>());
}

TEST_P(GoldenDecoder, ContinuesFromItsOwnCache) {
  const at::Tensor whole = decoder_.forward({.token_ids_BT = token_ids_BT_}).logits_BTV;
  for (const int64_t num_cached : {1, 9, 23}) {
    const int64_t num_new = token_ids_BT_.size(1) - num_cached;
    const DecoderOutput output =
        decoder_.forward({.token_ids_BT = token_ids_BT_.narrow(1, num_cached, num_new),
                          .cache = prefix(num_cached)});
    EXPECT_LE(largest_difference(output.logits_BTV, whole.narrow(1, num_cached, num_new)),
              kTolerance);
    EXPECT_EQ(output.cache->num_tokens(), token_ids_BT_.size(1));
    EXPECT_LE(largest_difference(output.cache->keys(1), prefix(24).keys(1)), kTolerance);
  }
}

TEST_P(GoldenDecoder, OnlyTheDifferenceOfPositionsCounts) {
  constexpr int64_t kOffset = 90, kCached = 10, kNew = 14;
  const at::Tensor whole = decoder_.forward({.token_ids_BT = token_ids_BT_}).logits_BTV;
  DecoderInput input{
      .token_ids_BT = token_ids_BT_.narrow(1, kCached, kNew),
      .cache = prefix(kCached),
      .cache_positions = at::arange(kOffset, kOffset + kCached, at::kLong),
      .positions = at::arange(kOffset + kCached, kOffset + kCached + kNew, at::kLong)};
  EXPECT_LE(largest_difference(decoder_.forward(input).logits_BTV, whole.narrow(1, kCached, kNew)),
            1e-3);  // float32 angles are coarser far out
  input.positions = input.positions + 1;
  EXPECT_GT(largest_difference(decoder_.forward(input).logits_BTV, whole.narrow(1, kCached, kNew)),
            0.01);
}

TEST_P(GoldenDecoder, StepsGiveWhatOnePassGives) {
  const at::Tensor whole = decoder_.forward({.token_ids_BT = token_ids_BT_}).logits_BTV;
  DecoderSession session(decoder_, prefix(5));
  EXPECT_EQ(session.num_tokens(), 5);
  EXPECT_LE(largest_difference(session.append(token_ids_BT_.narrow(1, 5, 7)), whole.select(1, 11)),
            kTolerance);
  for (int64_t t = 12; t < 24; ++t) {
    EXPECT_LE(largest_difference(session.append(token_ids_BT_.narrow(1, t, 1)), whole.select(1, t)),
              kTolerance);
  }
  EXPECT_LE(largest_difference(session.cache().keys(2), prefix(24).keys(2)), kTolerance);
}

TEST_P(GoldenDecoder, RowsOfABatchDoNotSeeEachOther) {
  const at::Tensor whole = decoder_.forward({.token_ids_BT = token_ids_BT_}).logits_BTV;
  const at::Tensor alone =
      decoder_.forward({.token_ids_BT = token_ids_BT_.narrow(0, 1, 1)}).logits_BTV;
  EXPECT_LE(largest_difference(alone, whole.narrow(0, 1, 1)), kTolerance);
}

// Finite differences of a random direction, through every layer's cached keys and values.
TEST_P(GoldenDecoder, GradientsFlowIntoTheCache) {
  KvCache cache = prefix(12);
  std::vector<at::Tensor> leaves, directions;
  double slope = 0;
  for (int64_t layer = 0; layer < decoder_.geometry().num_layers; ++layer) {
    for (const at::Tensor& tensor : {cache.keys(layer), cache.values(layer)}) {
      leaves.push_back(tensor);
      directions.push_back(at::randn(tensor.sizes(), make_generator(leaves.size())));
    }
  }
  const auto loss = [&] {
    const at::Tensor logits =
        decoder_.forward({.token_ids_BT = token_ids_BT_.narrow(1, 12, 8), .cache = cache})
            .logits_BTV;
    return at::log_softmax(logits, -1).select(2, 3).mean();
  };
  for (at::Tensor& leaf : leaves) leaf.set_requires_grad(true);
  loss().backward();
  for (size_t i = 0; i < leaves.size(); ++i) {
    ASSERT_TRUE(leaves[i].grad().defined()) << "stream " << i;
    slope += (leaves[i].grad() * directions[i]).sum().item<double>();
    leaves[i].set_requires_grad(false);
  }
  const double step = 2e-3;
  const auto shift = [&](double by) {
    for (size_t i = 0; i < leaves.size(); ++i) leaves[i].add_(directions[i], by);
  };
  shift(step);
  const double above = loss().item<double>();
  shift(-2 * step);
  const double below = loss().item<double>();
  EXPECT_NEAR((above - below) / (2 * step), slope, 0.02 * std::abs(slope) + 1e-3);
}

TEST(Decoder, GivesQueriesAndAttentionOutputsOfEveryLayer) {
  const Decoder decoder = Decoder::load(golden_decoder("qwen3"));
  const at::Tensor token_ids = at::arange(10, at::kInt).unsqueeze(0);
  const DecoderOutput output = decoder.forward({.token_ids_BT = token_ids, .with_attention = true});
  ASSERT_EQ(output.queries_BQTH.size(), 3u);
  EXPECT_EQ(output.queries_BQTH[2].sizes(), at::IntArrayRef({1, 4, 10, 16}));
  ASSERT_EQ(output.attention_BTE.size(), 3u);
  EXPECT_EQ(output.attention_BTE[0].sizes(), at::IntArrayRef({1, 10, 32}));
}

TEST(Decoder, AWindowHidesWhatIsFurtherBack) {
  const Decoder decoder = Decoder::load(golden_decoder("mistral"));  // 3 layers, window 8
  at::Tensor token_ids = at::arange(30, at::kInt).unsqueeze(0);
  const at::Tensor before =
      decoder.forward({.token_ids_BT = token_ids, .num_logits = 1}).logits_BTV;
  token_ids[0][7] = 60;  // 22 places before the last: out of reach of 3 x 7
  const at::Tensor far = decoder.forward({.token_ids_BT = token_ids, .num_logits = 1}).logits_BTV;
  token_ids[0][20] = 60;
  const at::Tensor near = decoder.forward({.token_ids_BT = token_ids, .num_logits = 1}).logits_BTV;
  EXPECT_LE(largest_difference(before, far), 1e-5);
  EXPECT_GT(largest_difference(before, near), 0.01);
}

// Half-size weights: against the same numbers held in float32.
TEST(Decoder, ReadsWeightsOfHalfTheSize) {
  const TemporaryFolder folder;
  for (const at::ScalarType dtype : {at::kBFloat16, at::kHalf}) {
    std::vector<std::string> folders;
    for (const bool narrow : {true, false}) {
      const std::string name = c10::str(at::toString(dtype), narrow ? "-narrow" : "-wide");
      folders.push_back(folder.file(name));
      std::filesystem::create_directory(folders.back());
      std::filesystem::copy(golden_decoder("llama_bias") + "/config.json", folders.back());
      const SafetensorsFile file =
          SafetensorsFile::open(golden_decoder("llama_bias") + "/model.safetensors");
      std::vector<NamedTensor> tensors;
      for (const auto& [tensor, info] : file.tensors()) {
        const at::Tensor stored = file.tensor(tensor).to(dtype);
        tensors.push_back({tensor, narrow ? stored : stored.to(at::kFloat)});
      }
      write_safetensors(folders.back() + "/model.safetensors", tensors);
    }
    const at::Tensor token_ids = at::arange(40, at::kInt).view({2, 20});
    const Decoder narrow = Decoder::load(folders[0]), wide = Decoder::load(folders[1]);
    EXPECT_LE(largest_difference(narrow.forward({.token_ids_BT = token_ids}).logits_BTV,
                                 wide.forward({.token_ids_BT = token_ids}).logits_BTV),
              kTolerance);
    EXPECT_EQ(generate_greedily(narrow, {}, token_ids[0], 8),
              generate_greedily(wide, {}, token_ids[0], 8));
  }
}

TEST(Decoder, GeneratesTheMostProbableTokens) {
  const Decoder decoder = Decoder::load(golden_decoder("llama"));
  at::Tensor token_ids = at::tensor({3, 1, 4, 1, 5}, at::kLong);
  const std::vector<int64_t> tokens = generate_greedily(decoder, {}, token_ids, 6);
  for (const int64_t token : tokens) {
    const at::Tensor logits =
        decoder.forward({.token_ids_BT = token_ids.unsqueeze(0), .num_logits = 1}).logits_BTV;
    EXPECT_EQ(token, logits.argmax().item<int64_t>());
    token_ids = at::cat({token_ids, at::tensor({token}, at::kLong)});
  }
  EXPECT_EQ(generate_greedily(decoder, {}, at::tensor({3, 1, 4, 1, 5}, at::kLong), 6, tokens[0]),
            std::vector<int64_t>{tokens[0]});
}

TEST(Decoder, RefusesWhatDoesNotFit) {
  const Decoder decoder = Decoder::load(golden_decoder("llama"));
  const Decoder other = Decoder::load(golden_decoder("qwen3"));
  const at::Tensor token_ids = at::arange(6, at::kInt).unsqueeze(0);
  const KvCache cache = *decoder.forward({.token_ids_BT = token_ids}).cache;
  EXPECT_THROWS_WITH(decoder.forward({.token_ids_BT = token_ids[0]}), "[batch, tokens]");
  EXPECT_THROWS_WITH(decoder.forward({.token_ids_BT = token_ids.to(at::kFloat)}), "got Float");
  EXPECT_THROWS_WITH(decoder.forward({.token_ids_BT = token_ids + 60}), "0 .. 63 (llama), got 65");
  EXPECT_THROWS_WITH(decoder.forward({.token_ids_BT = token_ids - 1}), "got -1");
  EXPECT_THROWS_WITH(other.forward({.token_ids_BT = token_ids, .cache = cache}),
                     "expected a cache of 3 layers");
  EXPECT_THROWS_WITH(decoder.forward({.token_ids_BT = token_ids.expand({2, -1}), .cache = cache}),
                     "a batch of 2");
  EXPECT_THROWS_WITH(decoder.forward({.token_ids_BT = token_ids, .num_logits = 7}), "got 7");
  EXPECT_THROWS_WITH(
      decoder.forward({.token_ids_BT = token_ids, .positions = at::arange(5, at::kLong)}),
      "expected int64 positions [6] or [1, 6]");
  EXPECT_THROWS_WITH(
      decoder.forward(
          {.token_ids_BT = token_ids, .cache = cache, .cache_positions = at::arange(6, at::kInt)}),
      "cache_positions");
  EXPECT_THROWS_WITH(
      decoder.forward({.token_ids_BT = token_ids, .mask_BS = at::ones({1, 5}, at::kBool)}),
      "expected a bool mask [1, 6]");
  DecoderSession session(decoder, cache);
  EXPECT_THROWS_WITH(session.append(token_ids.expand({2, -1})), "a batch of 1");
  EXPECT_THROWS_WITH(DecoderSession(decoder).cache(), "none were consumed");
  EXPECT_THROWS_WITH(DecoderSession(other, cache), "Was it made for another model?");
  EXPECT_THROWS_WITH(generate_greedily(decoder, {}, token_ids, 1), "token ids [tokens]");
}

}  // namespace
}  // namespace kvalign
