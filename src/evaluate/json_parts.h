// Parts that several sections of report.json have. Private to evaluate/.
#pragma once

#include <nlohmann/json.hpp>

#include "json_number.h"
#include "kvalign/evaluate/bootstrap.h"
#include "kvalign/evaluate/identity_gate.h"

namespace kvalign {

inline nlohmann::json to_json(const Interval& interval) {
  return {{"value", number(interval.value)},
          {"low", number(interval.low)},
          {"high", number(interval.high)}};
}

inline nlohmann::json to_json(const GateResult& result) {
  return {{"gate", result.gate},
          {"side", result.side},
          {"model", result.model},
          {"passed", result.passed},
          {"tokens", result.num_tokens},
          {"max_logit_difference", number(result.max_logit_difference)},
          {"changed_top1", result.changed_top1},
          {"largest_relative_error", number(result.largest_relative_error)},
          {"why", result.why}};
}

}  // namespace kvalign
