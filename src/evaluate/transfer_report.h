// Estimates of transfers as JSON and as cells of tables, for reports and plans alike. Private to
// evaluate/.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "kvalign/evaluate/transfer.h"

namespace kvalign {

// {"row", "text", "flops_sender", "flops_receiver", "bytes_sent", "seconds_sender", "seconds_link",
// "seconds_receiver", "seconds_total", "energy", "power_limit_times_seconds"}.
nlohmann::json to_json(const TransferEstimate& estimate);

// A list of {"row", "side", "step", "flops", "parameters", "bytes", "seconds", "bound_by",
// "dtype"}.
nlohmann::json steps_to_json(const TransferEstimate& estimate);

// {"sender_target", "receiver_target", "link": {"bits_per_second", "latency_seconds"}, "sender_is",
// "dtype"}.
nlohmann::json to_json(const CostSetting& setting);

std::vector<std::string> estimate_header();
std::vector<std::string> estimate_cells(const TransferEstimate& estimate);

// What the estimates are, and are not; lines.
std::string estimate_notes(const CostSetting& setting);

}  // namespace kvalign
