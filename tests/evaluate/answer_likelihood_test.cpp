// Likelihoods of answers against one pass over text, question and answer together.
#include "src/evaluate/answer_likelihood.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "kvalign/core/random.h"
#include "tests/support/decoder_folder.h"

namespace kvalign::testing {
namespace {

at::Tensor random_tokens(int64_t count, Random& random) {
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < count; ++i) ids.push_back(static_cast<int64_t>(random.below(64)));
  return at::tensor(ids, at::kLong);
}

// Sum of log P(token | all before it) over the last `count` tokens, in one pass.
double log_likelihood_of_end(const Decoder& decoder, const at::Tensor& tokens_T, int64_t count) {
  const at::Tensor logits_TV =
      decoder.forward({.token_ids_BT = tokens_T.unsqueeze(0)}).logits_BTV[0];
  double sum = 0;
  for (int64_t t = tokens_T.size(0) - count; t < tokens_T.size(0); ++t) {
    const at::Tensor logits_V = logits_TV[t - 1].to(at::kDouble);
    sum += (logits_V[tokens_T[t].item<int64_t>()] - logits_V.logsumexp(0)).item<double>();
  }
  return sum;
}

TEST(AnswerLikelihood, IsThatOfOnePassOverEverything) {
  const at::NoGradGuard no_gradients;
  Random random(3);
  for (const char* name : {"llama", "qwen3"}) {
    const Decoder decoder = Decoder::load(golden_decoder(name));
    const at::Tensor text = random_tokens(7, random), question = random_tokens(3, random);
    for (const std::vector<int64_t>& lengths :
         {std::vector<int64_t>{1, 4, 2, 4}, std::vector<int64_t>{1, 1}, std::vector<int64_t>{3}}) {
      std::vector<at::Tensor> answers;
      for (const int64_t length : lengths) answers.push_back(random_tokens(length, random));
      const KvCache cache =
          *decoder.forward({.token_ids_BT = text.unsqueeze(0), .num_logits = 0}).cache;
      const at::Tensor other = random_tokens(7, random);
      const KvCache other_cache =
          *decoder.forward({.token_ids_BT = other.unsqueeze(0), .num_logits = 0}).cache;
      // Two runs of one shape, which share a pass, and one without a cache.
      const std::vector<at::Tensor> read_before = {text, other, text.narrow(0, 0, 0)};
      size_t num_read = 0;
      read_questions(
          decoder,
          {{0, cache.streams(), question}, {1, other_cache.streams(), question}, {2, {}, question}},
          [&](size_t row, const QuestionRead& read) {
            ++num_read;
            const std::vector<double> got = answer_log_likelihoods(decoder, read, answers);
            ASSERT_EQ(got.size(), answers.size());
            for (size_t k = 0; k < answers.size(); ++k) {
              const at::Tensor whole = at::cat({read_before[row], question, answers[k]});
              // Float32 sums in another order; log-likelihoods are below 20.
              EXPECT_NEAR(got[k], log_likelihood_of_end(decoder, whole, answers[k].size(0)), 1e-4)
                  << name << ", row " << row << ", answer " << k;
            }
          });
      EXPECT_EQ(num_read, 3);
    }
  }
}

}  // namespace
}  // namespace kvalign::testing
