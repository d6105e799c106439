// KvGeometry to and from JSON, the form in which index.json and checkpoints hold it. Strict both
// ways: a file with a misspelt, missing or impossible entry is refused, and what is written always
// reads back.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "kvalign/format/export.h"
#include "kvalign/format/geometry.h"

namespace kvalign {

// {"model", "num_layers", "num_kv_heads", "head_dim", "rope": null | {"theta", "pairing",
// "rotary_dim",
//  "scaling": {"type", ...}}, "sliding_window", "sliding_window_layers"}
KVALIGN_API nlohmann::json to_json(const KvGeometry& geometry);

// `where` opens every error text, for example "pairs/index.json: sender.geometry".
// Errors: std::invalid_argument that names the entry: unknown (with the known ones), missing, of a
// wrong type, or out of range.
KVALIGN_API KvGeometry geometry_from_json(const nlohmann::json& json, const std::string& where);

// The rules that both directions enforce. Errors: std::invalid_argument, as above.
KVALIGN_API void check_geometry(const KvGeometry& geometry, const std::string& where);

}  // namespace kvalign
