// The first token of every answer from one distribution, the others in batches. See
// answer_likelihood.h.
//
// Shapes:  B answers of a batch   M tokens consumed of each   V vocabulary
#include "answer_likelihood.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace kvalign {
namespace {

// 256 MB of float32.
constexpr int64_t kMaxAnswerLogits = int64_t{1} << 26;

// One sequence of a batch, as views.
KvCache cache_of(const KvCache& batch, int64_t place) {
  std::vector<at::Tensor> keys, values;
  for (int64_t layer = 0; layer < batch.geometry().num_layers; ++layer) {
    keys.push_back(batch.keys(layer).narrow(0, place, 1));
    values.push_back(batch.values(layer).narrow(0, place, 1));
  }
  return KvCache(batch.geometry(), keys, values);
}

// The same sequence `count` times, as views.
KvCache repeat_cache(const KvCache& cache, int64_t count) {
  std::vector<at::Tensor> keys, values;
  for (int64_t layer = 0; layer < cache.geometry().num_layers; ++layer) {
    keys.push_back(cache.keys(layer).expand({count, -1, -1, -1}));
    values.push_back(cache.values(layer).expand({count, -1, -1, -1}));
  }
  return KvCache(cache.geometry(), keys, values);
}

// Of all tokens of each answer but the first; a shorter answer is filled up at its end, where
// nothing that counts looks.
std::vector<double> later_log_likelihoods(const Decoder& decoder, const KvCache& cache,
                                          const std::vector<at::Tensor>& answers,
                                          int64_t num_consumed) {
  const auto count = static_cast<int64_t>(answers.size());
  const at::Tensor tokens_BM = at::zeros({count, num_consumed}, at::kLong);
  for (int64_t b = 0; b < count; ++b) {
    const int64_t consumed = answers[b].size(0) - 1;
    tokens_BM[b].narrow(0, 0, consumed).copy_(answers[b].narrow(0, 0, consumed));
  }
  const at::Tensor logits_BMV = decoder
                                    .forward({.token_ids_BT = tokens_BM.to(decoder.device()),
                                              .cache = repeat_cache(cache, count),
                                              .with_cache = false})
                                    .logits_BTV;
  std::vector<double> sums;
  for (int64_t b = 0; b < count; ++b) {
    const int64_t consumed = answers[b].size(0) - 1;
    const at::Tensor targets = answers[b].narrow(0, 1, consumed).to(decoder.device()).unsqueeze(1);
    const at::Tensor log_probabilities_MV = logits_BMV[b].narrow(0, 0, consumed).log_softmax(1);
    sums.push_back(log_probabilities_MV.gather(1, targets).to(at::kDouble).sum().item<double>());
  }
  return sums;
}

}  // namespace

void read_questions(const Decoder& decoder, const std::vector<CachedRun>& runs,
                    const std::function<void(size_t row, const QuestionRead& read)>& use) {
  for (const std::vector<CachedRun>& batch : batches_of(decoder, runs, /*num_logits=*/1)) {
    const DecoderOutput output = run_batch(decoder, batch, /*num_logits=*/1, /*with_cache=*/true);
    for (size_t b = 0; b < batch.size(); ++b) {
      const auto place = static_cast<int64_t>(b);
      use(batch[b].row, {cache_of(*output.cache, place), output.logits_BTV[place][0]});
    }
  }
}

std::vector<double> answer_log_likelihoods(const Decoder& decoder, const QuestionRead& read,
                                           const std::vector<at::Tensor>& answers) {
  const at::Tensor first_V = read.logits_V.log_softmax(0).to(at::kCPU, at::kDouble);
  std::vector<double> sums;
  int64_t longest = 0;
  for (const at::Tensor& answer : answers) {
    sums.push_back(first_V[answer[0].item<int64_t>()].item<double>());
    longest = std::max(longest, answer.size(0));
  }
  if (longest == 1) return sums;
  const int64_t logits_an_answer = (longest - 1) * decoder.config().vocab_size;
  const auto batch_size =
      static_cast<size_t>(std::max<int64_t>(1, kMaxAnswerLogits / logits_an_answer));
  for (size_t begin = 0; begin < answers.size(); begin += batch_size) {
    const size_t end = std::min(answers.size(), begin + batch_size);
    const std::vector<double> later = later_log_likelihoods(
        decoder, read.cache, {answers.begin() + begin, answers.begin() + end}, longest - 1);
    for (size_t i = begin; i < end; ++i) sums[i] += later[i - begin];
  }
  return sums;
}

}  // namespace kvalign
