// What is proved of one request's FP8 codes, of a sample of its tokens. Private to deploy/.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "kvalign/deploy/model_service_options.h"
#include "kvalign/monitor/request_record.h"
#include "request_input.h"
#include "served_model.h"

namespace kvalign {

/// As `kvalign eval --certify` prints it, with `of_tokens`, how many there were; null where nothing
/// is asked for, and for numbers that are not FP8, which nothing rounded on the way. Fills
/// certified_wire_error of `record`, and certified_error where streams are bounded; infinity where
/// nothing is proved.
nlohmann::json certify_request(const RequestInput& input, const ServedModel& model,
                               const RequestCertificateOptions& options, RequestRecord& record);

}  // namespace kvalign
