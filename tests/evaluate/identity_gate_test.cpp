// The identity gate passes on every supported family, and names each planted fault.
#include "kvalign/evaluate/identity_gate.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "planted_faults.h"
#include "tests/support/throws.h"
#include "tiny_ladder.h"

namespace kvalign::testing {
namespace {

std::vector<at::Tensor> random_sequences(int64_t count, int64_t num_tokens) {
  Random random(3);
  std::vector<at::Tensor> sequences;
  for (int64_t i = 0; i < count; ++i) {
    sequences.push_back(tiny_side(num_tokens, num_tokens, random).token_ids);
  }
  return sequences;
}

KvCache cache_of(const Decoder& decoder, const at::Tensor& tokens_T) {
  return *decoder.forward({.token_ids_BT = tokens_T.unsqueeze(0), .num_logits = 0}).cache;
}

class EveryFamily : public ::testing::TestWithParam<const char*> {};

TEST_P(EveryFamily, ContinuesFromItsOwnStoredCache) {
  const Decoder decoder = Decoder::load(golden_decoder(GetParam()));
  const GateResult result =
      check_own_cache(decoder, random_sequences(5, 24), {.side = "receiver", .min_tokens = 30});
  EXPECT_TRUE(result.passed) << result.why;
  EXPECT_EQ(result.num_tokens, 39);  // 13 scores a sequence, until 30 are reached
  EXPECT_EQ(result.changed_top1, 0);
  EXPECT_LE(result.max_logit_difference, 1e-4);
  EXPECT_EQ(result.side, "receiver");
  EXPECT_EQ(result.model, GetParam());
}

TEST_P(EveryFamily, EveryPlantedFaultIsFoundAndNamed) {
  const Decoder decoder = Decoder::load(golden_decoder(GetParam()));
  const auto sequences = random_sequences(2, 24);
  for (const PlantedFault& fault : planted_faults(cache_of(decoder, sequences[1]))) {
    const GateResult result =
        check_own_cache(decoder, {sequences[0]}, {.side = "sender", .transport = fault.transport});
    EXPECT_FALSE(result.passed) << fault.name;
    EXPECT_THAT(result.why, ::testing::HasSubstr("the first to deviate: " + fault.first_to_deviate))
        << fault.name;
  }
}

INSTANTIATE_TEST_SUITE_P(IdentityGate, EveryFamily,
                         ::testing::Values("llama", "llama_bias", "mistral", "qwen2", "qwen3"));

TEST(IdentityGate, NonFiniteCachesDoNotPass) {
  const Decoder decoder = Decoder::load(golden_decoder("llama"));
  const auto poison = [](const KvCache& cache) {
    return changed(cache, [](int64_t layer, at::Tensor&, at::Tensor& values) {
      if (layer == 2) values.fill_(NAN);
    });
  };
  const GateResult result =
      check_own_cache(decoder, random_sequences(1, 8), {.side = "sender", .transport = poison});
  EXPECT_FALSE(result.passed);
  EXPECT_THAT(result.why, ::testing::HasSubstr("the values of layer 2 (relative error inf)"));
}

TEST(IdentityGate, RefusesNothingAndTooLittle) {
  const Decoder decoder = Decoder::load(golden_decoder("llama"));
  EXPECT_THROWS_WITH(check_own_cache(decoder, {}, {}), "expected token sequences, got none");
  EXPECT_THROWS_WITH(check_own_cache(decoder, random_sequences(1, 3), {}),
                     "expected at least 4 tokens a sequence, got shape [3]");
}

TEST(IdentityGate, FirstDeviationIsByLayerAndKeysFirst) {
  const Decoder decoder = Decoder::load(golden_decoder("llama"));
  const KvCache cache = cache_of(decoder, random_sequences(1, 8)[0]);
  EXPECT_FALSE(first_deviation(cache, cache, 0).has_value());
  const KvCache off = changed(cache, [](int64_t layer, at::Tensor& keys, at::Tensor& values) {
    if (layer >= 1) values *= 1.25;
    if (layer >= 2) keys.zero_();
  });
  EXPECT_EQ(first_deviation(cache, off, 0.1)->text(),
            "the values of layer 1 (relative error 0.25)");
  EXPECT_EQ(first_deviation(cache, off, 0.5)->text(), "the keys of layer 2 (relative error 1)");
  EXPECT_NEAR(largest_relative_error(cache, off), 1, 1e-12);
  EXPECT_THROWS_WITH(first_deviation(cache, cache.slice(0, 3), 0), "to compare with, got 3 layers");
}

TEST(CapturedGate, PassesOnWhatTheModelsComputeAndFailsOnOthers) {
  for (const bool one_tokenizer : {true, false}) {
    const TinyLadder tiny("llama", "qwen3", one_tokenizer);
    const auto dataset = PairedDataset::open(tiny.recipe.dataset.folder);
    const Decoder sender = Decoder::load(tiny.options.sender);
    const Decoder receiver = Decoder::load(tiny.options.receiver);
    for (const auto& [decoder, side, tokens] :
         {std::tuple(&sender, "sender", one_tokenizer ? 24 : 31),
          std::tuple(&receiver, "receiver", 24)}) {
      const GateResult result = check_captured_caches(*decoder, *dataset, {3, 11}, side);
      EXPECT_TRUE(result.passed) << result.why;
      EXPECT_EQ(result.num_tokens, 2 * tokens);
      EXPECT_GT(result.largest_relative_error, 0);  // float16 on the disk
      EXPECT_LT(result.largest_relative_error, 1e-3);
    }
  }
}

TEST(CapturedGate, AnotherModelOfTheSameShapeIsFound) {
  const TinyLadder tiny("llama", "llama");
  const auto dataset = PairedDataset::open(tiny.recipe.dataset.folder);
  const Decoder other = Decoder::load(edited_decoder(
      tiny.folder, "llama", [](nlohmann::json& config) { config["rms_norm_eps"] = 0.5; }));
  const GateResult result = check_captured_caches(other, *dataset, {3}, "sender");
  EXPECT_FALSE(result.passed);
  EXPECT_THAT(result.why,
              ::testing::HasSubstr("the first to deviate, in sequence 3: the keys of layer 0"));
}

}  // namespace
}  // namespace kvalign::testing
