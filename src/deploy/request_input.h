// What a request brings, as numbers: rows for the projector, and the FP8 codes behind them for the
// guard and the certificate. Private to deploy/.
//
// Shapes:  T tokens   F numbers of a token   M streams that arrive   W width of one
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kvalign/bounds/quantisation_bound.h"
#include "kvalign/ops/fp8_wire.h"
#include "kvalign/serve/inference_service.h"
#include "served_model.h"

namespace kvalign {

/// A cache that cannot be used, or not as it came: the label of metrics, and the reason in words.
struct GuardFinding {
  CacheOutcome outcome = CacheOutcome::kApplied;
  std::string label = {}, reason = {};
};

struct ReceivedCodes {
  at::Tensor codes_MTW, scales_MX;
  Fp8Wire wire = {};
  ScaleOrigin origin = ScaleOrigin::kOwnAmax;
};

struct RequestInput {
  at::Tensor rows_TF = {};  ///< float32, contiguous; undefined where a finding came first. May view
                            ///< the request's bytes, which must outlive it
  std::optional<ReceivedCodes> codes = {};  ///< of FP8 alone
  std::vector<int32_t> sinks = {}, reread = {};
  int64_t text_tokens = 0;  ///< sinks and re-read ones included
  uint64_t position_offset = 0;
  at::Tensor token_ids = {};                 ///< int64 [text_tokens]; undefined: unknown
  std::optional<GuardFinding> finding = {};  ///< why the numbers are not there
  int64_t num_tokens() const { return rows_TF.defined() ? rows_TF.size(0) : 0; }
};

/// Throws ServeRefusal 400 where it is no request for this model: no input or several, a datatype,
/// a shape, a damaged packet; 413 for more than `max_tokens`.
RequestInput read_request_input(const ServeRequest& request, const ServedModel& model,
                                int64_t max_tokens);

}  // namespace kvalign
