// Whether a cache may be used: it comes from the right model, and its numbers are such as training
// saw. Private to deploy/. What cannot be read at all is refused earlier (request_input.h).
#pragma once

#include <cstdint>
#include <optional>

#include "kvalign/deploy/model_service_options.h"
#include "kvalign/monitor/request_record.h"
#include "request_input.h"
#include "served_model.h"

namespace kvalign {

/// The first check that fails; outcome kApplied where none does. In order: geometry, encoder and
/// what can be read (of `input`), tokeniser and revision that the request names, finite numbers,
/// saturation, norms. Fills elements, saturated and drift_score of `record`.
GuardFinding inspect(const ServeRequest& request, const RequestInput& input,
                     const ServedModel& model, const GuardOptions& options, RequestRecord& record);

/// Codes of the largest magnitude, beyond the one that each scale of a token or a block of its own
/// has by construction.
int64_t num_saturated(const ReceivedCodes& codes);

}  // namespace kvalign
