// The numbers of a sequence that cross the network for a row, rounded, and how far rounding may
// have moved each. Private to evaluate/.
//
// Shapes:  S sender streams   T tokens   d sender width   G feature groups   F features of a group
//          (a latent: G = 1, F its rank)
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "kvalign/ops/fp8_quantizer.h"
#include "kvalign/ops/fp8_wire.h"
#include "rows.h"

namespace kvalign {

struct SentTokens {
  at::Tensor exact_GTF;    // float32, before the wire
  at::Tensor decoded_GTF;  // float32, what arrives
  at::Tensor
      half_widths_GTF;        // float64: |exact - decoded| at most; infinity where nothing is known
  int64_t num_unbounded = 0;  // numbers of the latter kind
  int64_t num_violations = 0;  // numbers further away than their half width: must be 0
  // Of a token, of all numbers that are sent for it, relative to |decoded|; float64 [T].
  at::Tensor measured_T, certified_T, model_T;
};

// Why a row's wire has no certificate; empty where it has one.
std::string why_uncertified(const Row& row);

// sender_STd: one sequence, float32 on the CPU. A row without a wire of its own sends its cache by
// `wire`. The row must be one that why_uncertified says nothing of.
SentTokens send_tokens(const Row& row, const Fp8Wire& wire, const at::Tensor& sender_STd);

// Tokens `places` of them, int64.
SentTokens select_tokens(const SentTokens& sent, const at::Tensor& places);

// One sequence after the other.
SentTokens join_tokens(const std::vector<SentTokens>& parts);

}  // namespace kvalign
