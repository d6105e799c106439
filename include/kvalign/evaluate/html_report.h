// report.html: report.json for people, as one page without scripts or other files.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "kvalign/format/export.h"

namespace kvalign {

/// A page of what `report`, the object of a report.json, holds: a section for each part that is
/// there, plots drawn from its numbers, and of each column whether it is measured, certified (a
/// proved upper bound), statistical (holds with 95 % confidence) or estimated. Reports of older
/// versions, which lack parts, are shown too. Throws std::invalid_argument unless `report` is an
/// object of schema 1, nlohmann::json::exception where a key is not what
/// results/report.schema.json says.
KVALIGN_API std::string to_html(const nlohmann::json& report);

}  // namespace kvalign
