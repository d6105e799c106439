// How far a receiver's attention outputs move when its cache does, layer by layer, under the
// queries that it really asks: the certificates of bounds/attention_layer_bound.h beside what is
// measured. Queries are those after the true cache (teacher-forced), so that every layer is judged
// alone. Private to evaluate/.
//
// Shapes:  L layers   N kv heads   Q query heads   T tokens   C of them cached   I last tokens   H
//          head dim   E hidden size   R = 2 L streams   D = N H
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "kvalign/bounds/attention_layer_bound.h"
#include "kvalign/evaluate/certificate_report.h"
#include "kvalign/model/decoder.h"

namespace kvalign {

// One sequence that the receiver has read, and what it asked of its cache.
struct ReceiverQueries {
  at::Tensor cache_RTD;     // float64: its own, content keys
  at::Tensor queries_LIQH;  // float64, after RoPE, of the last I tokens
};
ReceiverQueries read_queries(const Decoder& receiver, const at::Tensor& token_ids_T,
                             int64_t num_queries);

// A cache and how far it may be from another one.
struct CacheMove {
  at::Tensor from_RTD, to_RTD;  // float64, content keys; both known, for what is measured
  at::Tensor radius_RT;         // float64: |from - to| of a token's stream at most
  bool to_is_known = false;     // to the certificate, which may then use its values' spread
};

class AttentionCertificate {
 public:
  // Norms of all output projections: minutes where the hidden size is thousands.
  explicit AttentionCertificate(std::shared_ptr<const Decoder> receiver);

  const Decoder& receiver() const { return *receiver_; }

  // Adds all layers and queries of one sequence.
  struct Observations {
    std::vector<std::vector<double>> measured, certified, c_measured, c_certified;  // [L] lists
    std::vector<std::array<int64_t, 4>> binding;                                    // [L], of A-D
    int64_t queries = 0, violations = 0;
    int64_t left_out = 0;  // sequences with an infinite bound, by the caller
  };
  void observe(const ReceiverQueries& queries, const CacheMove& move,
               Observations& observations) const;

  static AttentionFigures figures(const Observations& observations);

 private:
  std::shared_ptr<const Decoder> receiver_;
  std::vector<OutputProjectionCertificate> outputs_;  // [L]
};

}  // namespace kvalign
