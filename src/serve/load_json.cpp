// A load's figures and queries as JSON. See load_result.h.
#include <nlohmann/json.hpp>

#include "kvalign/core/options_json.h"
#include "kvalign/serve/load_result.h"

namespace kvalign {
namespace {

// Null where there is nothing to rank: JSON has no NaN.
nlohmann::json milliseconds(const LoadPercentiles& seconds) {
  return {{"p50", 1e3 * seconds.p50},
          {"p90", 1e3 * seconds.p90},
          {"p99", 1e3 * seconds.p99},
          {"p99_9", 1e3 * seconds.p99_9},
          {"max", 1e3 * seconds.max}};
}

}  // namespace

nlohmann::json to_json(const LoadResult& result) {
  const std::vector<std::string> not_met = bounds_not_met(result);
  nlohmann::json json = {
      {"schema", 1},
      {"options", options_to_json(result.options)},
      {"version", result.version},
      {"interrupted", result.interrupted},
      {"queries", result.queries},
      {"answered", result.answered},
      {"outcomes", result.outcomes},
      {"errors", result.errors},
      {"errors_with_retry_after", result.retry_after},
      {"seconds", result.seconds},
      {"queries_per_second", result.queries_per_second()},
      {"tokens_per_second", static_cast<double>(result.tokens) / result.seconds},
      {"latency_ms", milliseconds(result.latency)},
      {"send_delay_ms", milliseconds(result.send_delay)},
      {"good", result.good},
      {"goodput", result.goodput()},
      {"bounds_not_met", not_met},
  };
  if (result.options.request == "generate") {
    json["pieces"] = result.pieces;
    json["pieces_per_second"] = static_cast<double>(result.pieces) / result.seconds;
    json["first_piece_ms"] = milliseconds(result.first_piece);
    json["between_pieces_ms"] = milliseconds(result.between_pieces);
  }
  return json;
}

nlohmann::json to_json(const LoadQuery& query) {
  return {{"id", query.id},         {"scheduled", query.scheduled},
          {"sent", query.sent},     {"done", query.done},
          {"pieces", query.pieces}, {"status", query.status},
          {"error", query.error},   {"outcome", query.outcome},
          {"tokens", query.tokens}, {"retry_after", query.retry_after}};
}

}  // namespace kvalign
