// Runs the receiver after given caches, and scores what it predicts. Private to evaluate/.
//
// Shapes:  R receiver streams   C cached tokens   D width   I consumed tokens   M predicted tokens
//          V vocabulary
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "kvalign/evaluate/ladder_statistics.h"
#include "kvalign/model/decoder.h"

namespace kvalign {

// A cache and the tokens that are consumed after it.
struct CachedRun {
  size_t row = 0;
  at::Tensor streams_RCD = {};  // undefined: no cache
  at::Tensor tokens_I = {};     // int64
};

// Runs of equal shape, as many as keep the logits small: what can share a pass.
std::vector<std::vector<CachedRun>> batches_of(const Decoder& decoder,
                                               const std::vector<CachedRun>& runs,
                                               int64_t num_logits);

// One pass of runs of equal shape.
DecoderOutput run_batch(const Decoder& decoder, const std::vector<CachedRun>& batch,
                        int64_t num_logits, bool with_cache);

// All runs, in batches. `use` is told each run's row and the logits [M, V] of its last `num_logits`
// tokens.
void run_after_caches(const Decoder& decoder, const std::vector<CachedRun>& runs,
                      int64_t num_logits,
                      const std::function<void(size_t row, const at::Tensor& logits_MV)>& use);

// nll, hits and, where `reference_MV` (log-probabilities) is defined, KL(reference || row).
// nll is rounded to 1e-6 nats, so that what is stored as text is what was computed.
RowScores score_tokens(const at::Tensor& logits_MV, const at::Tensor& targets_M,
                       const at::Tensor& reference_MV);

}  // namespace kvalign
