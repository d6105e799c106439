// A shard's entry in index.json, as the record of an unfinished capture has it too. Internal to
// dataset/.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "kvalign/dataset/dataset_index.h"

namespace kvalign {

/// Throws std::invalid_argument, opened by `where`.
ShardEntry shard_from_json(const nlohmann::json& json, const std::string& where);
nlohmann::json to_json(const ShardEntry& shard);

}  // namespace kvalign
