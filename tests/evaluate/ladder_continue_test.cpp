// Greedy continuations of held-out texts: which cache each comes from.
#include <gtest/gtest.h>

#include <fstream>

#include "kvalign/dataset/token_file.h"
#include "kvalign/evaluate/ladder.h"
#include "tests/support/throws.h"
#include "tiny_ladder.h"

namespace kvalign::testing {
namespace {

// A copy of a golden decoder whose token i is written "<i>".
std::string with_words(const TemporaryFolder& folder, const std::string& name) {
  const std::string copy = edited_decoder(folder, name, [](nlohmann::json&) {});
  nlohmann::json vocabulary;
  for (int64_t id = 0; id < kVocabulary; ++id) vocabulary["<" + std::to_string(id) + ">"] = id;
  const nlohmann::json tokenizer = {{"model", {{"type", "BPE"}, {"vocab", vocabulary}}},
                                    {"decoder", {{"type", "ByteLevel"}}}};
  std::ofstream(copy + "/tokenizer.json") << tokenizer.dump();
  return copy;
}

std::string words_of(const at::Tensor& token_ids) {
  std::string text;
  for (int64_t i = 0; i < token_ids.size(0); ++i) {
    text += "<" + std::to_string(token_ids[i].item<int64_t>()) + ">";
  }
  return text;
}

TEST(LadderContinue, OneModelAndTheIdentityAgree) {
  TinyLadder tiny("llama", "llama");
  tiny.save_checkpoint_of(/*identity=*/true);
  tiny.evaluate.baselines = {};
  tiny.options.sender = tiny.options.receiver = with_words(tiny.folder, "llama");
  const Continuations result = tiny.open().continue_greedily(1, 6);
  EXPECT_EQ(result.sequence, 3);  // 0 and 1 are of a document that the fit has seen
  const at::Tensor ids =
      read_token_file(tiny.options.tokens).receiver.sequence(3).token_ids.to(at::kLong);
  EXPECT_EQ(result.prefix_end, words_of(ids.narrow(0, 0, 14)));
  EXPECT_EQ(result.truth, words_of(ids.narrow(0, 14, 6)));
  ASSERT_EQ(result.rows.size(), 5);
  const std::vector<std::string> names = {"true cache", "linear", "wrong document", "no cache",
                                          "sender alone"};
  for (size_t i = 0; i < names.size(); ++i) EXPECT_EQ(result.rows[i].name, names[i]);

  const Decoder decoder = Decoder::load(tiny.options.receiver);
  const auto greedy = [&](const at::Tensor& prefix) {
    return words_of(at::tensor(generate_greedily(decoder, {}, prefix, 6), at::kLong));
  };
  const std::string whole = greedy(ids.narrow(0, 0, 14));
  EXPECT_EQ(result.rows[0].text, whole);
  EXPECT_EQ(result.rows[1].text, whole);
  EXPECT_NE(result.rows[2].text, whole);
  EXPECT_EQ(result.rows[3].text, greedy(ids.narrow(0, 13, 1)));
  EXPECT_EQ(result.rows[4].text, whole);
}

TEST(LadderContinue, TwoTokenizers) {
  TinyLadder tiny("llama", "qwen3", /*one_tokenizer=*/false);
  tiny.evaluate.baselines = {};
  tiny.options.sender = with_words(tiny.folder, "llama");
  tiny.options.receiver = with_words(tiny.folder, "qwen3");
  const Continuations result = tiny.open().continue_greedily(0, 4);
  for (const Continuation& row : result.rows) EXPECT_FALSE(row.text.empty()) << row.name;
  EXPECT_THROWS_WITH(tiny.open().continue_greedily(8, 4),
                     "expected a held-out sequence from 0 to 7, got 8");
}

}  // namespace
}  // namespace kvalign::testing
