// Which errors of a cache the receiver notices: for each stream and head the quadratic form that
// turns an error of one token's keys or values into the expected change of the layer's attention
// output, relative to that output. First order in the error, one token at a time (errors of several
// tokens taken for uncorrelated), and no account of later layers.
//
// With attention weights a_pj of query p on token j, W the head's columns of the output projection
// and o_p the head's output,
//   a value error e at j moves p's output by a_pj W e, summed over the query heads of the kv head:
//     metric = sum_p (sum_heads a_pj W)' (sum_heads a_pj W)
//   a content-key error e at j moves the logit by q_p' R_j e / sqrt(H), R_j the rotation of j:
//     metric = sum_p a_pj^2 |W (v_j - o_p)|^2 / H (R_j' q_p)(R_j' q_p)'
//     summed over the query heads as if they moved the output independently
// both averaged over j and divided by the layer's mean squared output.
//
// Shapes:  R receiver streams   N kv heads   H head dim
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "kvalign/format/export.h"
#include "kvalign/model/decoder.h"

namespace kvalign {

/// Accumulates over texts; one pass of the receiver each.
class KVALIGN_API AttentionMetric {
 public:
  /// The first `skip_first_tokens` of each text (sinks) carry no error: they are never projected.
  AttentionMetric(const Decoder& receiver, int64_t skip_first_tokens);

  /// `token_ids_T`: int32 or int64, more than skip_first_tokens.
  void add(const at::Tensor& token_ids_T);

  /// [R, N, H, H] float64, symmetric. Throws c10::Error before the first text.
  at::Tensor finish() const;

 private:
  void add_layer(int64_t layer, const at::Tensor& queries_QTH, const at::Tensor& keys_NTH,
                 const at::Tensor& values_NTH);

  const Decoder& receiver_;
  int64_t skip_;
  int64_t num_texts_ = 0;
  at::Tensor metric_RNHH_;  ///< sums over texts
  at::Tensor output_L_;     ///< sums over texts of the mean squared attention output
};

}  // namespace kvalign
