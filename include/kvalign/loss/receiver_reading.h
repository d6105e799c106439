// A frozen receiver that reads training texts after projected caches: what the terms `kl` and
// `attention` are computed on. Training then sees what use does: exact sinks, re-read tokens, the
// last-token protocol. Not a term itself.
//
// Shapes:  B sequences   R streams   T tokens of a sequence, sinks included   C cached tokens
//          D receiver width   I consumed tokens   M predicted tokens
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "kvalign/core/kv_cache.h"
#include "kvalign/format/export.h"
#include "kvalign/loss/loss_term.h"
#include "kvalign/model/decoder.h"

namespace kvalign {

/// A whole sequence of the dataset.
struct ReceiverText {
  at::Tensor token_ids_T;  ///< int32 or int64
  at::Tensor cache_RTD;    ///< the receiver's own, float32
};

/// Sequences of one length, cut at one place into what is cached and what the receiver computes.
struct ReceiverExample {
  KvCache true_cache, projected_cache;  ///< of C tokens; the projected one has exact sinks
  at::Tensor consumed_BI;               ///< reread + M tokens after the cache
  int64_t num_predicted = 0;            ///< M: the last of them
};

class KVALIGN_API ReceiverReading {
 public:
  /// `text` gives a sequence by its number in the dataset. `sinks`: tokens at each start that the
  /// batches leave out. A projected cache ends `continuation_tokens` + `reread` tokens before the
  /// end of its sequence or, in training, at a place drawn from the later half up to there: one
  /// text then teaches more than its end.
  ReceiverReading(std::shared_ptr<const Decoder> receiver,
                  std::function<ReceiverText(int64_t sequence)> text, int64_t sinks,
                  int64_t continuation_tokens, int64_t reread);

  const Decoder& receiver() const { return *receiver_; }

  /// All sequences of the batch, those of one length together; gradients flow into their projected
  /// caches. Throws c10::Error where the batch does not name its sequences, or a sequence has no
  /// token left between the sinks and what the receiver computes.
  std::vector<ReceiverExample> examples(const LossInput& input) const;

 private:
  ReceiverExample example(const LossInput& input, const std::vector<int64_t>& places,
                          int64_t num_tokens) const;
  int64_t num_cached(const LossInput& input, int64_t num_tokens) const;

  std::shared_ptr<const Decoder> receiver_;
  std::function<ReceiverText(int64_t sequence)> text_;
  int64_t sinks_, continuation_tokens_, reread_;
};

}  // namespace kvalign
