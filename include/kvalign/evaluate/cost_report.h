// What the rows of a ladder would cost on the devices of a recipe's `cost` section. Holds estimates
// only; transfer.h makes them.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "kvalign/evaluate/transfer.h"
#include "kvalign/format/export.h"

namespace kvalign {

struct CostReport {
  CostSetting setting = {};
  int64_t prompt_tokens = 0;  ///< that the receiver's side counts
  std::vector<TransferEstimate> rows = {};
};

/// Adds "cost": {"sender_target", "receiver_target", "link", "sender_is", "dtype", "prompt_tokens",
/// "rows": [...], "steps": [...]}.
KVALIGN_API void add_to_json(const CostReport& report, nlohmann::json& json);

/// A table for a terminal, and what its numbers are.
KVALIGN_API std::string to_text(const CostReport& report);

/// A section of report.md.
KVALIGN_API std::string to_markdown(const CostReport& report);

}  // namespace kvalign
