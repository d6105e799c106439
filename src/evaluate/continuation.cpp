// Batched passes after caches, and their scores. See continuation.h.
#include "continuation.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

namespace kvalign {
namespace {

// 256 MB of float32: with 152k words and 64 tokens, 6 runs a pass. More gains nothing: a pass of a
// few hundred tokens is bound by arithmetic.
constexpr int64_t kMaxLogits = int64_t{1} << 26;

// [B][R, C, D] -> a cache of batch B; a copy.
KvCache stack_caches(const KvGeometry& geometry, const std::vector<at::Tensor>& streams_RCD) {
  const at::Tensor streams_RBNCH = at::stack(streams_RCD, 1)
                                       .unflatten(3, {geometry.num_kv_heads, geometry.head_dim})
                                       .transpose(2, 3);
  const std::vector<at::Tensor> all = streams_RBNCH.unbind(0);
  const auto values = all.begin() + geometry.num_layers;
  return KvCache(geometry, {all.begin(), values}, {values, all.end()});
}

}  // namespace

std::vector<std::vector<CachedRun>> batches_of(const Decoder& decoder,
                                               const std::vector<CachedRun>& runs,
                                               int64_t num_logits) {
  std::map<std::pair<int64_t, int64_t>, std::vector<CachedRun>> by_shape;
  for (const CachedRun& run : runs) {
    const int64_t cached = run.streams_RCD.defined() ? run.streams_RCD.size(1) : 0;
    by_shape[{cached, run.tokens_I.size(0)}].push_back(run);
  }
  const auto batch_size = static_cast<size_t>(
      std::max<int64_t>(1, kMaxLogits / (num_logits * decoder.config().vocab_size)));
  std::vector<std::vector<CachedRun>> batches;
  for (const auto& [shape, alike] : by_shape) {
    for (size_t first = 0; first < alike.size(); first += batch_size) {
      const size_t end = std::min(alike.size(), first + batch_size);
      batches.emplace_back(alike.begin() + first, alike.begin() + end);
    }
  }
  return batches;
}

DecoderOutput run_batch(const Decoder& decoder, const std::vector<CachedRun>& batch,
                        int64_t num_logits, bool with_cache) {
  std::vector<at::Tensor> tokens, streams;
  for (const CachedRun& run : batch) {
    tokens.push_back(run.tokens_I);
    if (run.streams_RCD.defined()) streams.push_back(run.streams_RCD);
  }
  DecoderInput input{.token_ids_BT = at::stack(tokens).to(decoder.device()),
                     .num_logits = num_logits,
                     .with_cache = with_cache};
  if (!streams.empty()) input.cache = stack_caches(decoder.geometry(), streams);
  return decoder.forward(input);
}

void run_after_caches(const Decoder& decoder, const std::vector<CachedRun>& runs,
                      int64_t num_logits,
                      const std::function<void(size_t row, const at::Tensor& logits_MV)>& use) {
  for (const std::vector<CachedRun>& batch : batches_of(decoder, runs, num_logits)) {
    const at::Tensor logits_BMV =
        run_batch(decoder, batch, num_logits, /*with_cache=*/false).logits_BTV;
    for (size_t b = 0; b < batch.size(); ++b) use(batch[b].row, logits_BMV[b]);
  }
}

RowScores score_tokens(const at::Tensor& logits_MV, const at::Tensor& targets_M,
                       const at::Tensor& reference_MV) {
  const at::Tensor log_probabilities_MV = logits_MV.to(at::kFloat).log_softmax(1);
  const at::Tensor targets = targets_M.to(logits_MV.device());
  const at::Tensor nll_M =
      -log_probabilities_MV.gather(1, targets.unsqueeze(1)).squeeze(1).to(at::kCPU, at::kDouble);
  const at::Tensor hits_M = (logits_MV.argmax(1) == targets).to(at::kCPU, at::kLong);
  RowScores scores;
  for (int64_t i = 0; i < nll_M.size(0); ++i) {
    const double nll = nll_M.const_data_ptr<double>()[i];
    scores.nll.push_back(std::round(nll * 1e6) / 1e6);
    scores.hits.push_back(hits_M.const_data_ptr<int64_t>()[i]);
  }
  if (reference_MV.defined()) {
    scores.kl =
        (reference_MV.exp() * (reference_MV - log_probabilities_MV)).sum(1).mean().item<double>();
  }
  return scores;
}

}  // namespace kvalign
