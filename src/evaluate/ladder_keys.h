// What decides the numbers of a ladder's rows, for files in which a stopped run is gone on with.
// Private to evaluate/.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "ladder_rows.h"
#include "ladder_setup.h"

namespace kvalign {

// Of all rows: models, data, tokens, seed and device; not how many texts there are.
nlohmann::json describe_setup(const LadderSetup& setup);

// Of one row each: "V1 + sinks, sinks 4, reread 0, of 0f3a...". A row that projects has the
// weights' SHA-256 in it.
std::vector<std::string> row_keys(const LadderSetup& setup,
                                  const std::vector<LadderRowPlan>& plans);

}  // namespace kvalign
