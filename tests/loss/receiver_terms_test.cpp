// kl and attention on a tiny random receiver: zero for its own cache, equal to what the decoder's
// passes give when written out, and gradients that lead down.
#include <ATen/ATen.h>

#include <functional>
#include <set>

#include "kvalign/loss/attention_term.h"
#include "kvalign/loss/kl_term.h"
#include "kvalign/loss/multi_task_loss.h"
#include "tests/support/decoder_folder.h"
#include "tests/support/golden_fill.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using testing::golden_fill;

constexpr int64_t kTokens = 15, kSinks = 2, kPredicted = 5;

// Two sequences of 15 tokens; a batch of them lacks the sinks.
class ReceiverTerms : public ::testing::TestWithParam<std::string> {
 protected:
  ReceiverTerms()
      : receiver_(std::make_shared<Decoder>(Decoder::load(golden_decoder(GetParam())))) {
    const at::NoGradGuard no_gradients;
    for (const int64_t first : {7, 31}) {
      const at::Tensor tokens = at::arange(first, first + kTokens, at::kLong);
      texts_.push_back(
          {tokens, receiver_->forward({.token_ids_BT = tokens.unsqueeze(0)}).cache->streams()});
    }
  }

  std::shared_ptr<const ReceiverReading> reading(int64_t reread = 0,
                                                 int64_t predicted = kPredicted) const {
    return std::make_shared<const ReceiverReading>(
        receiver_,
        [this](int64_t sequence) { return texts_.at(static_cast<size_t>(sequence - 40)); }, kSinks,
        predicted, reread);
  }

  // Projected caches that are off by `error` everywhere.
  LossInput input(double error) const {
    std::vector<at::Tensor> caches;
    for (const ReceiverText& text : texts_) {
      caches.push_back(text.cache_RTD.narrow(1, kSinks, kTokens - kSinks));
    }
    const at::Tensor target_RTD = at::cat(caches, 1);
    const at::Tensor noise_RTD = golden_fill(target_RTD.sizes().vec(), 3, 1.0);
    return {.predicted_RTD = target_RTD + error * noise_RTD,
            .target_RTD = target_RTD,
            .sequence_offsets = at::tensor({int64_t{0}, kTokens - kSinks, 2 * (kTokens - kSinks)}),
            .sequences = {40, 41}};
  }

  std::vector<std::unique_ptr<LossTerm>> terms(int64_t reread = 0) const {
    std::vector<std::unique_ptr<LossTerm>> terms;
    terms.push_back(std::make_unique<KlTerm>(reading(reread)));
    terms.push_back(std::make_unique<AttentionTerm>(reading(reread)));
    return terms;
  }

  std::shared_ptr<const Decoder> receiver_;
  std::vector<ReceiverText> texts_;
};

TEST_P(ReceiverTerms, OwnCacheCostsNothingAndErrorsCostMore) {
  for (const auto& term : terms()) {
    const double none = term->compute(input(0)).item<double>();
    const double small = term->compute(input(0.02)).item<double>();
    const double large = term->compute(input(0.2)).item<double>();
    EXPECT_NEAR(none, 0, 1e-9) << term->name();
    EXPECT_GT(small, 1e-8) << term->name();
    EXPECT_GT(large, 10 * small) << term->name();
  }
}

TEST_P(ReceiverTerms, KlIsThatOfTheNextTokens) {
  const LossInput batch = input(0.3);
  double expected = 0;
  for (int64_t place : {0, 1}) {
    const ReceiverText& text = texts_[static_cast<size_t>(place)];
    constexpr int64_t kCached = kTokens - kPredicted;
    at::Tensor cache_RCD = text.cache_RTD.narrow(1, 0, kCached).clone();
    cache_RCD.narrow(1, kSinks, kCached - kSinks)
        .copy_(batch.predicted_RTD.narrow(1, place * (kTokens - kSinks), kCached - kSinks));
    const auto logits = [&](const at::Tensor& streams) {
      return receiver_
          ->forward({.token_ids_BT = text.token_ids_T.narrow(0, kCached, kPredicted).unsqueeze(0),
                     .cache = KvCache::from_streams(receiver_->geometry(), streams)})
          .logits_BTV[0]
          .to(at::kDouble);
    };
    // The text itself read in one pass gives the distributions after the true cache.
    const at::Tensor own = receiver_->forward({.token_ids_BT = text.token_ids_T.unsqueeze(0)})
                               .logits_BTV[0]
                               .narrow(0, kCached, kPredicted)
                               .to(at::kDouble);
    const at::Tensor p = own.softmax(1), q = logits(cache_RCD).softmax(1);
    expected += (p * (p.log() - q.log())).sum(1).mean().item<double>() / 2;
  }
  EXPECT_NEAR(KlTerm(reading()).compute(batch).item<double>(), expected, 1e-4 * expected + 1e-7);
}

TEST_P(ReceiverTerms, AttentionOfTheFirstLayerIsTheDecodersOwn) {
  // Queries of the first layer do not depend on the cache, so that there, and only there, a pass
  // after the projected cache must say the same as the term's own attention.
  LossInput batch = input(0.3);
  batch.sequence_offsets = at::tensor({int64_t{0}, kTokens - kSinks});
  batch.sequences = {40};
  const ReceiverExample example = reading()->examples(batch).at(0);
  const auto outputs = [&](const KvCache& cache) {
    return receiver_
        ->forward({.token_ids_BT = example.consumed_BI, .cache = cache, .with_attention = true})
        .attention_BTE;
  };
  const std::vector<at::Tensor> own = outputs(example.true_cache);
  const double expected =
      ((outputs(example.projected_cache)[0] - own[0]).square().sum() / own[0].square().sum())
          .item<double>();
  // All layers but the first without an error.
  LossInput first = batch;
  first.predicted_RTD = batch.target_RTD.clone();
  const int64_t num_layers = receiver_->geometry().num_layers;
  for (const int64_t stream : {int64_t{0}, num_layers}) {
    first.predicted_RTD[stream].copy_(batch.predicted_RTD[stream]);
  }
  EXPECT_NEAR(
      AttentionTerm(reading()).compute(first).item<double>() * static_cast<double>(num_layers),
      expected, 1e-4 * expected);
}

TEST_P(ReceiverTerms, SequencesOfOneLengthAreReadTogether) {
  LossInput batch = input(0.3);
  const double together = KlTerm(reading()).compute(batch).item<double>();
  double apart = 0;
  const at::Tensor all_RTD = batch.predicted_RTD;
  for (const int64_t place : {0, 1}) {
    batch.predicted_RTD = all_RTD.narrow(1, place * (kTokens - kSinks), kTokens - kSinks);
    batch.sequence_offsets = at::tensor({int64_t{0}, kTokens - kSinks});
    batch.sequences = {40 + place};
    apart += KlTerm(reading()).compute(batch).item<double>() / 2;
  }
  EXPECT_NEAR(together, apart, 1e-4 * apart);
  batch = input(0.3);
  texts_[1] = {texts_[1].token_ids_T.narrow(0, 0, 12), texts_[1].cache_RTD.narrow(1, 0, 12)};
  batch.sequence_offsets = at::tensor({int64_t{0}, kTokens - kSinks, kTokens - kSinks + 10});
  const std::vector<ReceiverExample> examples = reading()->examples(batch);
  ASSERT_EQ(examples.size(), 2);
  EXPECT_EQ(examples[0].true_cache.num_tokens(), 7);
  EXPECT_EQ(examples[1].true_cache.num_tokens(), 10);
}

TEST_P(ReceiverTerms, TrainingDrawsWhereTheCacheEnds) {
  LossInput batch = input(0);
  std::set<int64_t> ends;
  for (int64_t step = 0; step < 60; ++step) {
    batch.step = step;
    const ReceiverExample example = reading()->examples(batch).at(0);
    const int64_t end = example.true_cache.num_tokens();
    EXPECT_EQ(reading()->examples(batch).at(0).true_cache.num_tokens(), end);
    EXPECT_EQ(example.consumed_BI[1][0].item<int64_t>(),
              texts_[1].token_ids_T[end].item<int64_t>());
    EXPECT_EQ(example.consumed_BI.size(1), kPredicted);
    ends.insert(end);
  }
  EXPECT_EQ(ends, (std::set<int64_t>{5, 6, 7, 8, 9, 10}));
}

TEST_P(ReceiverTerms, GradientsAreThoseOfTheValue) {
  for (const int64_t reread : {0, 3}) {
    for (const auto& term : terms(reread)) {
      LossInput batch = input(0.2);
      const at::Tensor point = batch.predicted_RTD;
      batch.predicted_RTD = point.clone().requires_grad_();
      term->compute(batch).backward();
      const at::Tensor gradient = batch.predicted_RTD.grad();
      // What the receiver computes itself is not learned from.
      const at::Tensor computed =
          gradient.narrow(1, kTokens - kSinks - kPredicted - reread, kPredicted + reread);
      EXPECT_EQ(computed.abs().max().item<double>(), 0) << term->name();
      const at::NoGradGuard no_gradients;
      const at::Tensor direction = gradient / gradient.norm();
      const auto value = [&](double step) {
        batch.predicted_RTD = point + step * direction;
        return term->compute(batch).item<double>();
      };
      const double slope = (value(0.05) - value(-0.05)) / 0.1;
      EXPECT_NEAR(slope, gradient.norm().item<double>(), 0.05 * slope) << term->name();
    }
  }
}

TEST_P(ReceiverTerms, SaysWhatItExpects) {
  LossInput batch = input(0);
  EXPECT_THROWS_WITH(KlTerm(reading(4, 9)).compute(batch), "none is left to project");
  batch.sequences.clear();
  EXPECT_THROWS_WITH(KlTerm(reading()).compute(batch), "a batch that names its 2 sequences, got 0");
  EXPECT_THROWS_WITH(MultiTaskLoss({.task = 0, .kl = 1}, std::nullopt), "Set loss.receiver");
  EXPECT_THROWS_WITH(MultiTaskLoss({.task = 0, .kl = -1}, std::nullopt, reading()), "kl -1");
  const MultiTaskLoss loss({.mse = 0, .cosine = 0, .task = 0, .attention = 1, .kl = 1},
                           std::nullopt, reading());
  EXPECT_EQ(loss.term_names(), (std::vector<std::string>{"attention", "kl"}));
}

INSTANTIATE_TEST_SUITE_P(Families, ReceiverTerms, ::testing::Values("llama_bias", "qwen2", "qwen3"),
                         [](const auto& family) { return family.param; });

}  // namespace
}  // namespace kvalign
