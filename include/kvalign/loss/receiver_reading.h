// A frozen receiver that reads training texts after projected caches: what the terms `kl` and
// `attention` are computed on. Training then sees what use does: exact sinks, re-read tokens, the
// last-token protocol. Not a term itself.
//
// Shapes:  R streams   T tokens of a sequence, sinks included   C cached tokens   D receiver width
//          M predicted tokens
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>

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

/// One sequence, cut into what is cached and what the receiver computes.
struct ReceiverExample {
  KvCache true_cache, projected_cache;  ///< of C tokens; the projected one has exact sinks
  at::Tensor consumed_1I;               ///< the last reread + M tokens
  int64_t num_predicted = 0;            ///< M: the last of them
};

class KVALIGN_API ReceiverReading {
 public:
  /// `text` gives a sequence by its number in the dataset. `sinks`: tokens at each start that the
  /// batches leave out. A projected cache ends `continuation_tokens` + `reread` tokens before the
  /// end of its sequence.
  ReceiverReading(std::shared_ptr<const Decoder> receiver,
                  std::function<ReceiverText(int64_t sequence)> text, int64_t sinks,
                  int64_t continuation_tokens, int64_t reread);

  const Decoder& receiver() const { return *receiver_; }

  /// Sequence `place` of the batch; gradients flow into its projected cache. Throws c10::Error
  /// where the batch does not name its sequences, or a sequence has no token left between the sinks
  /// and what the receiver computes.
  ReceiverExample example(const LossInput& input, int64_t place) const;

 private:
  std::shared_ptr<const Decoder> receiver_;
  std::function<ReceiverText(int64_t sequence)> text_;
  int64_t sinks_, continuation_tokens_, reread_;
};

}  // namespace kvalign
