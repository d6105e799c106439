// The receiver's cache of one text as each row of a ladder has it: its own, a projected one, that
// of another document, or the sinks alone. Private to evaluate/.
//
// Shapes:  R receiver streams   T tokens of a text that a cache covers   C of them, or of another
//          text   D receiver width
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <tuple>

#include "ladder_rows.h"
#include "ladder_setup.h"
#include "sender_caches.h"

namespace kvalign {

// [R, T, D] float32 of a batch of one, after the ladder's wire.
at::Tensor through_wire(const KvCache& cache, const LadderOptions& options);

class RowCaches {
 public:
  // `own`: what the receiver computes of the T tokens. Borrows setup and senders.
  RowCaches(const LadderSetup& setup, SenderCaches& senders, size_t text, const KvCache& own)
      : setup_(setup), senders_(senders), text_(text), own_(own), own_RTD_(own.streams()) {}

  // [R, C, D] float32; undefined for rows without a cache of the receiver: text, no cache,
  // those of the sender. Re-read tokens at the end are not in it.
  at::Tensor streams(const LadderRowPlan& plan);

 private:
  const at::Tensor& projected(size_t projector, size_t text, int64_t sinks);

  const LadderSetup& setup_;
  SenderCaches& senders_;
  size_t text_;
  KvCache own_;
  at::Tensor own_RTD_;
  // By projector, text and sinks.
  std::map<std::tuple<size_t, size_t, int64_t>, at::Tensor> projected_RTD_;
};

}  // namespace kvalign
