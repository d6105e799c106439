// A number of a report as JSON has it: what is undefined becomes null. Private to evaluate/.
#pragma once

#include <cmath>
#include <nlohmann/json.hpp>

namespace kvalign {

inline nlohmann::json number(double value) {
  return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(nullptr);
}

}  // namespace kvalign
